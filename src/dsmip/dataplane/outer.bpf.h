/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The outer headers in front of a packet. */
#ifndef DSMIP_OUTER_H
#define DSMIP_OUTER_H

#include "packet.bpf.h"

#define OUTER_HOP_LIMIT 64
#define IPV4_DONT_FRAGMENT 0x4000
#define EALREADY 114

/* How a packet travels: as its path says, or in UDP if it has to carry a sequence number. */
struct manner {
    __u8 format;
    __u8 sequenced;
    __be16 local_port;
    __be16 remote_port;
    __u16 reserved;
    __u32 sequence;
};

/* The header checksum, out of what differs between one outer IPv4 header and another. */
static __always_inline __be16 ipv4_checksum(__u8 traffic_class, __be16 length, __u8 protocol, __be32 source,
                                            __be32 destination)
{
    __u32 sum = bpf_htons(0x4500 | traffic_class) + length + bpf_htons(IPV4_DONT_FRAGMENT) +
                bpf_htons(OUTER_HOP_LIMIT << 8 | protocol) + (source & 0xffff) + (source >> 16) +
                (destination & 0xffff) + (destination >> 16);

    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* The outer IPv4 header: DSCP and ECN of the inner packet (RFC 2983 uniform model, RFC 6040 normal mode). */
static __always_inline void write_ipv4(struct iphdr *header, const struct dsmip_path *path,
                                       const struct inner *inner, __u8 protocol, __u32 payload)
{
    __be32 source = *(const __be32 *)path->local, destination = *(const __be32 *)path->remote;
    __be16 length = bpf_htons(sizeof(*header) + payload);

    *(__u8 *)header = 0x45; /* version, header length */
    header->tos = inner->traffic_class;
    header->tot_len = length;
    header->id = 0;
    header->frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
    header->ttl = OUTER_HOP_LIMIT;
    header->protocol = protocol;
    header->check = ipv4_checksum(inner->traffic_class, length, protocol, source, destination);
    header->saddr = source;
    header->daddr = destination;
}

/* What tells one flow inside from another, for the outer flow label (RFC 6438 section 3): what the network
 * card made of it, or else the inner flow label or ports, mixed with the addresses. The kernel's own hash
 * (bpf_get_hash_recalc) would be a fifth of the program's time. */
static __always_inline __u32 hash_of(struct __sk_buff *skb, const struct inner *inner)
{
    __u32 hash = skb->hash, ports = inner->flow_label;
    __u64 sum;

    if (hash)
        return hash;
    if (!ports && !inner->fragment && (inner->protocol == IPPROTO_TCP || inner->protocol == IPPROTO_UDP))
        read_word(skb, inner->header_length, &ports);
    sum = inner->source[0] + 3 * inner->source[1] + 5 * inner->destination[0] + 7 * inner->destination[1];
    return ((sum ^ (__u64)ports << 32 ^ inner->protocol) * 0x9e3779b97f4a7c15ULL) >> 40;
}

static __always_inline void write_ipv6(struct ipv6hdr *header, const struct dsmip_path *path,
                                       const struct inner *inner, __u8 next_header, __u32 payload,
                                       __u32 flow_label)
{
    __u32 first = 6 << 28 | (__u32)inner->traffic_class << 20 | (flow_label & 0xfffff);

    *(__be32 *)header = bpf_htonl(first);
    header->payload_len = bpf_htons(payload);
    header->nexthdr = next_header;
    header->hop_limit = OUTER_HOP_LIMIT;
    __builtin_memcpy(&header->saddr, path->local, 16);
    __builtin_memcpy(&header->daddr, path->remote, 16);
}

/* No checksum: RFC 768 allows that over IPv4, RFC 6935 over IPv6 for tunnels. The inner packet has its own.
 * `end` is that of the memory at `place`. */
static __always_inline void write_udp(__u8 *place, const __u8 *end, const struct manner *manner, __u32 length)
{
    struct udphdr *header = (struct udphdr *)place;
    struct dsmip_sequenced *sequenced = (struct dsmip_sequenced *)(header + 1);

    header->source = manner->local_port;
    header->dest = manner->remote_port;
    header->len = bpf_htons(length);
    header->check = 0;
    if (manner->sequenced && (const __u8 *)(sequenced + 1) <= end) {
        __builtin_memset(sequenced, 0, sizeof(*sequenced));
        sequenced->type = DSMIP_SEQUENCED;
        sequenced->sequence = bpf_htonl(manner->sequence);
    }
}

/* Make room where the kernel still takes the packet for a tunnelled one: it came out of a tunnel a moment ago
 * (from one mobile node to another), and skb->encapsulation cannot be cleared from here. Offsets of the inner
 * headers are right still; only the protocol may have to change, which costs or gains 20 octets of the inner
 * header that are put back afterwards. */
static __always_inline long make_room_again(struct __sk_buff *skb, const struct inner *inner, __u32 room,
                                            int outer_version)
{
    __u8 head[20];
    long error;

    if (inner->version == outer_version)
        return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
    error = bpf_skb_load_bytes(skb, 0, head, sizeof(head));
    if (error)
        return error;
    error = bpf_skb_change_proto(skb, outer_version == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
    if (error)
        return error;
    error = bpf_skb_adjust_room(skb, outer_version == 6 ? (__s32)room - 20 : (__s32)room + 20,
                                BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
    if (error)
        return error;
    return bpf_skb_store_bytes(skb, room, head, sizeof(head), 0);
}

static __always_inline long make_room(struct __sk_buff *skb, const struct inner *inner, __u32 room,
                                      int outer_version, int udp)
{
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
    long error;

    flags |= outer_version == 6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
    if (udp)
        flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
    error = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags);
    if (error == -EALREADY && !skb->gso_size)
        error = make_room_again(skb, inner, room, outer_version);
    return error;
}

/* Room in front of the packet for `length` octets of outer headers, and for a link-layer header of `link`
 * octets before them. */
static __always_inline long make_front(struct __sk_buff *skb, const struct inner *inner, __u32 link,
                                       __u32 length, int outer_version, int udp)
{
    long error = make_room(skb, inner, length, outer_version, udp);

    return error || !link ? error : bpf_skb_change_head(skb, ETH_HLEN, 0);
}

/* Where the outer headers go: one pointer for the check of its end and for what follows, as the verifier
 * wants it. */
static __always_inline __u8 *front(struct __sk_buff *skb, __u32 link)
{
    __u8 *place = (__u8 *)(long)skb->data + link;

    asm volatile("" : "+r"(place));
    return place;
}

static __always_inline const __u8 *linear_end(struct __sk_buff *skb)
{
    return (const __u8 *)(long)skb->data_end;
}

/* Put the outer headers of `path` in front of the packet, behind `link` octets (0 or those of Ethernet) that
 * stay empty. Returns the outer IP version, or an error below zero: EALREADY = a segmentation-offload packet
 * that came out of a tunnel a moment ago. */
static __always_inline long write_outer(struct __sk_buff *skb, const struct dsmip_path *path,
                                       const struct manner *manner, const struct inner *inner, __u32 link)
{
    int ipv6 = manner->format == DSMIP_FORMAT_IPV6 || manner->format == DSMIP_FORMAT_UDP6;
    int in_udp = manner->format == DSMIP_FORMAT_UDP4 || manner->format == DSMIP_FORMAT_UDP6;
    __u8 protocol = in_udp ? IPPROTO_UDP : inner->version == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
    __u32 hash = ipv6 ? hash_of(skb, inner) : 0, payload = skb->len;
    __u8 *place;
    long error;

    if (in_udp)
        payload += sizeof(struct udphdr) + (manner->sequenced ? sizeof(struct dsmip_sequenced) : 0);
    if (ipv6) {
        error = make_front(skb, inner, link, payload - skb->len + sizeof(struct ipv6hdr), 6, in_udp);
        place = front(skb, link);
        if (error || place + sizeof(struct ipv6hdr) > linear_end(skb))
            return error ? error : -1;
        write_ipv6((struct ipv6hdr *)place, path, inner, protocol, payload, hash);
        place += sizeof(struct ipv6hdr);
    } else {
        error = make_front(skb, inner, link, payload - skb->len + sizeof(struct iphdr), 4, in_udp);
        place = front(skb, link);
        if (error || place + sizeof(struct iphdr) > linear_end(skb))
            return error ? error : -1;
        write_ipv4((struct iphdr *)place, path, inner, protocol, payload);
        place += sizeof(struct iphdr);
    }
    if (in_udp) {
        if (place + sizeof(struct udphdr) > linear_end(skb))
            return -1;
        write_udp(place, linear_end(skb), manner, payload);
    }
    return ipv6 ? 6 : 4;
}

#endif
