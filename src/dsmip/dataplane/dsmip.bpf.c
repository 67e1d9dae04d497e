/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The data plane of dsmip: encapsulation on the tunnel device's egress, decapsulation on the uplinks' ingress.
 *
 * What is not understood is left to the kernel untouched; signalling goes to the daemon with all its outer
 * headers, through the tunnel device's descriptor. Runs on Linux 5.15 and newer. */

#include "decapsulate.bpf.h"
#include "encapsulate.bpf.h"

#define PACKET_OTHERHOST 3
#define HOME_ADDRESS_OPTION 0xc9
#define ROUTING_TYPE_2 2
#define MAX_OPTIONS 8
#define PAD_N 1
#define ENCAPSULATION_LIMIT 4
#define ENCAPSULATION_LIMIT_HEADER 8
#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */

/* Which budget signalling comes out of. Whoever floods us with what names no mobile node, or one that is not
 * registered there, must not keep those that are from renewing their bindings. `home_address` is claimed. */
static __always_inline __u32 budget_of(const struct dsmip_settings *config, const struct outer_header *outer,
                                       const __be64 *home_address)
{
    long binding = binding_of(6, home_address);

    if (binding == NO_BINDING)
        return DSMIP_BUCKET_STRANGERS;
    return source_of(config, binding, outer) ? DSMIP_BUCKET_EXPECTED : DSMIP_BUCKET_MOVED;
}

static __always_inline int upcall(struct __sk_buff *skb, const struct dsmip_settings *config,
                                  const struct outer_header *outer, const __be64 *home_address)
{
    __u32 kind = budget_of(config, outer, home_address), rate = config->signalling_rate;

    if (kind == DSMIP_BUCKET_STRANGERS)
        rate /= DSMIP_STRANGERS_SHARE;
    if (!take_token(kind, rate))
        return drop(DSMIP_DROP_UPCALL_RATE);
    skb->mark = DSMIP_UPCALL_MARK;
    return bpf_redirect(config->device, 0);
}

/* Packet to a home address without a binding: its owner is on the home link, or nowhere. */
static __always_inline int without_binding(struct __sk_buff *skb, const struct dsmip_settings *config,
                                           const struct inner *inner)
{
    const __u8 *destination = (const __u8 *)inner->destination;
    int multicast = inner->version == 6 ? destination[0] == 0xff : destination[0] >= 224;

    if (config->role == DSMIP_MOBILE_NODE || multicast)
        return drop(DSMIP_DROP_NO_BINDING);
    if (config->home_link)
        return plain_to_neighbour(skb, config->home_link,
                                  inner->version == 6 ? DSMIP_AF_INET6 : DSMIP_AF_INET, destination);
    if (skb->mark == DSMIP_SEEN_MARK)
        return drop(DSMIP_DROP_NO_BINDING);
    if (!take_token(DSMIP_BUCKET_MISS, config->miss_rate))
        return drop(DSMIP_DROP_MISS_RATE);
    return PASS_ON; /* the daemon answers that there is nobody */
}

/* A mobile node's question, or a home agent's answer: with or without a binding, the daemon knows which headers
 * belong in front of it. */
static __always_inline int is_own_key_exchange(struct __sk_buff *skb, const struct dsmip_settings *config,
                                               const struct inner *inner)
{
    return skb->mark != DSMIP_SEEN_MARK &&
           is_key_exchange(skb, 0, inner, config->role == DSMIP_HOME_AGENT) &&
           local_entry(DSMIP_AF_INET6, inner->source, 0);
}

/* IKE with a home agent from where the mobile node is not registered: there are no keys yet to register with. */
static __always_inline int is_early_key_exchange(struct __sk_buff *skb, const struct dsmip_settings *config,
                                                 __u32 offset, const struct outer_header *outer,
                                                 const struct inner *inner)
{
    struct dsmip_source *source;
    long binding;

    if (config->role != DSMIP_HOME_AGENT || !is_key_exchange(skb, offset, inner, 0) ||
        !local_entry(DSMIP_AF_INET6, inner->destination, 0))
        return 0;
    binding = binding_of(6, inner->source);
    if (binding == NO_BINDING)
        return 1;
    source = source_of(config, binding, outer);
    return !source || has_passed(source->until_ns);
}

SEC("tc")
int tunnel_egress(struct __sk_buff *skb)
{
    struct dsmip_settings *config = get_settings();
    struct inner inner = {};
    long index;

    /* For the daemon: signalling as it came in, and what the kernel has put under IPsec of the daemon's own. */
    if (skb->mark == DSMIP_UPCALL_MARK)
        return PASS_ON;
    if (!config)
        return TC_ACT_SHOT;
    if (read_inner(skb, 0, &inner))
        return drop(DSMIP_DROP_MALFORMED);
    if (is_own_key_exchange(skb, config, &inner))
        return PASS_ON;
    index = usual_binding_of(config, inner.version,
                             config->role == DSMIP_HOME_AGENT ? inner.destination : inner.source);
    if (index == NO_BINDING)
        return without_binding(skb, config, &inner);
    return encapsulate(skb, config, index, &inner);
}

/* Whether the destination options at `offset` are the mobility protocol's business: a home address option,
 * or a mobility header right behind. The home address goes into `home_address`. */
static __always_inline int has_home_address(struct __sk_buff *skb, __u32 offset, __be64 *home_address)
{
    __u8 header[2], option[2];
    __u32 position = 2, end;

    if (bpf_skb_load_bytes(skb, offset, header, 2))
        return 0;
    end = (header[1] + 1) * 8;
    for (int i = 0; i < MAX_OPTIONS; i++) {
        if (position >= end || bpf_skb_load_bytes(skb, offset + position, option, 2))
            break;
        if (option[0] == HOME_ADDRESS_OPTION) {
            if (bpf_skb_load_bytes(skb, offset + position + 2, home_address, 16))
                __builtin_memset(home_address, 0, 16);
            return 1;
        }
        position += option[0] == 0 ? 1 : 2 + option[1];
    }
    return header[0] == IPPROTO_MH;
}

/* Whether an IPv6 packet to one of our addresses is signalling, by the header that follows IPv6's. A home
 * address in that header goes into `home_address`. */
static __always_inline int is_signalling(struct __sk_buff *skb, __u8 next_header, __u32 offset,
                                         __be64 *home_address)
{
    __u8 header[3];

    switch (next_header) {
    case IPPROTO_MH:
        return 1;
    case NEXT_DESTINATION:
        return has_home_address(skb, offset, home_address);
    case NEXT_ROUTING:
        if (bpf_skb_load_bytes(skb, offset, header, 3) || header[2] != ROUTING_TYPE_2)
            return 0;
        if (bpf_skb_load_bytes(skb, offset + 8, home_address, 16))
            __builtin_memset(home_address, 0, 16);
        return 1;
    case NEXT_HOP_BY_HOP:
        return !bpf_skb_load_bytes(skb, offset, header, 2) &&
               (header[0] == IPPROTO_MH || header[0] == NEXT_DESTINATION || header[0] == NEXT_ROUTING);
    }
    return 0;
}

/* Whether a sequence number stands in front of the tunnelled packet at `offset`. */
static __always_inline int read_sequence(struct __sk_buff *skb, __u32 offset, struct outer_header *outer)
{
    struct dsmip_sequenced header;

    if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)) || header.type != DSMIP_SEQUENCED)
        return 0;
    outer->sequenced = 1;
    outer->sequence = bpf_ntohl(header.sequence);
    outer->length += sizeof(header);
    return 1;
}

/* The payload of a tunnel: at `offset`, behind `outer`; `protocol` says what it must be (UDP: either). */
static __always_inline int tunnelled(struct __sk_buff *skb, const struct dsmip_settings *config,
                                     __u32 offset, struct outer_header *outer, __u8 protocol)
{
    struct inner inner = {};
    __be64 unused[2];

    if (read_inner(skb, offset, &inner)) {
        if (protocol != IPPROTO_UDP || inner.version || !read_sequence(skb, offset, outer))
            return drop(DSMIP_DROP_MALFORMED);
        offset += sizeof(struct dsmip_sequenced);
        if (read_inner(skb, offset, &inner))
            return drop(DSMIP_DROP_MALFORMED);
    } else if (protocol == IPPROTO_UDP) {
        if (inner.version == 6 &&
            (inner.protocol == IPPROTO_ESP
                 ? !is_payload(skb, offset + IPV6_HEADER)
                 : is_signalling(skb, inner.protocol, offset + IPV6_HEADER, unused)) &&
            local_entry(DSMIP_AF_INET6, inner.destination, 0))
            return upcall(skb, config, outer,
                          config->role == DSMIP_HOME_AGENT ? inner.source : inner.destination);
    } else if (protocol != (inner.version == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP)) {
        return drop(DSMIP_DROP_MALFORMED);
    }
    if (is_early_key_exchange(skb, config, offset, outer, &inner))
        return upcall(skb, config, outer, inner.source);
    return decapsulate(skb, config, offset, outer, &inner);
}

/* UDP to our port: `outer` is complete but for the UDP header at its end. */
static __always_inline int in_udp(struct __sk_buff *skb, const struct dsmip_settings *config, __u32 link,
                                  struct outer_header *outer)
{
    struct udphdr udp;

    if (bpf_skb_load_bytes(skb, link + outer->length, &udp, sizeof(udp)))
        return PASS_ON;
    if (udp.dest != config->udp_port)
        return PASS_ON;
    outer->port = udp.source;
    outer->length += sizeof(udp);
    return tunnelled(skb, config, link + outer->length, outer, IPPROTO_UDP);
}

/* Destination options at `offset` with nothing but a tunnel encapsulation limit (RFC 2473 section 4.1.1), which
 * Linux puts in front of what it tunnels unless told otherwise: `protocol` is what follows. It limits tunnels in
 * this tunnel, not where it ends. */
static __always_inline int has_encapsulation_limit(struct __sk_buff *skb, __u32 offset, __u8 *protocol)
{
    __u8 header[ENCAPSULATION_LIMIT_HEADER];

    if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)) || header[1] || header[2] != ENCAPSULATION_LIMIT ||
        header[3] != 1 || header[5] != PAD_N || header[6] != 1)
        return 0;
    *protocol = header[0];
    return header[0] == IPPROTO_IPV6 || header[0] == IPPROTO_IPIP;
}

static __always_inline int uplink6(struct __sk_buff *skb, const struct dsmip_settings *config, __u32 link)
{
    struct outer_header outer = {.family = DSMIP_AF_INET6, .version = 6, .length = 40};
    __be64 home_address[2] = {};
    __u64 words[IPV6_HEADER / 8];
    const __u8 *header = (const __u8 *)words;
    __u8 protocol;
    __u16 *bid;

    if (read_words(skb, link, words, sizeof(words)))
        return PASS_ON;
    switch (header[6]) {
    case IPPROTO_IPV6:
    case IPPROTO_IPIP:
    case IPPROTO_UDP:
    case IPPROTO_MH:
    case NEXT_DESTINATION:
    case NEXT_ROUTING:
    case NEXT_HOP_BY_HOP:
        break;
    default:
        return PASS_ON;
    }
    bid = destination_entry(skb, config->role, DSMIP_AF_INET6, header + 24);
    if (!bid)
        return PASS_ON;
    outer.bid = *bid;
    __builtin_memcpy(outer.source, header + 8, 16);
    outer.traffic_class = traffic_class6(header);
    if (header[6] == IPPROTO_UDP)
        return in_udp(skb, config, link, &outer);
    protocol = header[6];
    if (protocol == NEXT_DESTINATION && has_encapsulation_limit(skb, link + 40, &protocol))
        outer.length += ENCAPSULATION_LIMIT_HEADER;
    if (protocol == IPPROTO_IPV6 || protocol == IPPROTO_IPIP)
        return tunnelled(skb, config, link + outer.length, &outer, protocol);
    if (is_signalling(skb, header[6], link + 40, home_address))
        return upcall(skb, config, &outer, home_address);
    return PASS_ON;
}

static __always_inline int uplink4(struct __sk_buff *skb, const struct dsmip_settings *config, __u32 link)
{
    struct outer_header outer = {.family = DSMIP_AF_INET, .version = 4};
    struct iphdr header __attribute__((aligned(8)));
    __u16 *bid;

    if (read_words(skb, link, (__u64 *)&header, sizeof(header)))
        return PASS_ON;
    if (header.protocol != IPPROTO_UDP && header.protocol != IPPROTO_IPV6 && header.protocol != IPPROTO_IPIP)
        return PASS_ON;
    if (header.ihl < 5 || header.frag_off & bpf_htons(IPV4_FRAGMENT))
        return PASS_ON;
    bid = destination_entry(skb, config->role, DSMIP_AF_INET, &header.daddr);
    if (!bid)
        return PASS_ON;
    outer.bid = *bid;
    __builtin_memcpy(outer.source, &header.saddr, 4);
    outer.traffic_class = header.tos;
    outer.length = header.ihl * 4;
    if (header.protocol == IPPROTO_UDP)
        return in_udp(skb, config, link, &outer);
    return tunnelled(skb, config, link + outer.length, &outer, header.protocol);
}

static __always_inline int uplink(struct __sk_buff *skb, __u32 link)
{
    struct dsmip_settings *config = get_settings();

    if (!config || skb->pkt_type == PACKET_OTHERHOST)
        return PASS_ON;
    if (!link && config->protection && skb->ifindex == config->device)
        clamp_decrypted(skb, config);
    if (skb->protocol == bpf_htons(ETH_P_IPV6))
        return uplink6(skb, config, link);
    if (skb->protocol == bpf_htons(ETH_P_IP))
        return uplink4(skb, config, link);
    return PASS_ON;
}

SEC("tc")
int uplink_ethernet(struct __sk_buff *skb)
{
    return uplink(skb, ETH_HLEN);
}

/* Modems in raw-IP mode, PPP: no link-layer header. */
SEC("tc")
int uplink_raw(struct __sk_buff *skb)
{
    return uplink(skb, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
