/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The outer headers in front of a packet. */
#ifndef DSMIP_OUTER_H
#define DSMIP_OUTER_H

#include "packet.bpf.h"

#define OUTER_HOP_LIMIT 64
#define IPV4_DONT_FRAGMENT 0x4000
#define EALREADY 114

/* The longest outer header: IPv6, UDP and a sequence number. */
struct outer {
    __u8 bytes[56];
};

/* How a packet travels: as its path says, or in UDP if it has to carry a sequence number. */
struct manner {
    __u8 format;
    __u8 sequenced;
    __be16 local_port;
    __be16 remote_port;
    __u16 reserved;
    __u32 sequence;
};

static __always_inline __be16 ipv4_checksum(const struct iphdr *header)
{
    const __u16 *words = (const __u16 *)header;
    __u32 sum = 0;

#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* The outer IPv4 header: DSCP and ECN of the inner packet (RFC 2983 uniform model, RFC 6040 normal mode). */
static __always_inline void write_ipv4(struct iphdr *header, const struct dsmip_path *path,
                                       const struct inner *inner, __u8 protocol, __u32 payload)
{
    __builtin_memset(header, 0, sizeof(*header));
    header->version = 4;
    header->ihl = 5;
    header->tos = inner->traffic_class;
    header->tot_len = bpf_htons(sizeof(*header) + payload);
    header->frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
    header->ttl = OUTER_HOP_LIMIT;
    header->protocol = protocol;
    __builtin_memcpy(&header->saddr, path->local, 4);
    __builtin_memcpy(&header->daddr, path->remote, 4);
    header->check = ipv4_checksum(header);
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
 * Returns the length of what has been written. */
static __always_inline __u32 write_udp(__u8 *place, const struct manner *manner, __u32 payload)
{
    struct udphdr *header = (struct udphdr *)place;
    struct dsmip_sequenced *sequenced = (struct dsmip_sequenced *)(header + 1);
    __u32 more = manner->sequenced ? sizeof(*sequenced) : 0;

    header->source = manner->local_port;
    header->dest = manner->remote_port;
    header->len = bpf_htons(sizeof(*header) + more + payload);
    header->check = 0;
    if (manner->sequenced) {
        __builtin_memset(sequenced, 0, sizeof(*sequenced));
        sequenced->type = DSMIP_SEQUENCED;
        sequenced->sequence = bpf_htonl(manner->sequence);
    }
    return sizeof(*header) + more;
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

static __always_inline long put_outer(struct __sk_buff *skb, const struct inner *inner,
                                      const struct outer *outer, __u32 length, int outer_version, int udp)
{
    long error = make_room(skb, inner, length, outer_version, udp);

    return error ? error : bpf_skb_store_bytes(skb, 0, outer->bytes, length, 0);
}

/* Put the outer headers of `path` in front of the packet. Returns the outer IP version, or an error below
 * zero: EALREADY = a segmentation-offload packet that came out of a tunnel a moment ago. */
static __always_inline long write_outer(struct __sk_buff *skb, const struct dsmip_path *path,
                                       const struct manner *manner, const struct inner *inner)
{
    __u8 protocol = inner->version == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
    __u32 payload = skb->len, udp;
    struct outer outer;
    long error;

    switch (manner->format) {
    case DSMIP_FORMAT_IPV6:
        write_ipv6((struct ipv6hdr *)outer.bytes, path, inner, protocol, payload, bpf_get_hash_recalc(skb));
        error = put_outer(skb, inner, &outer, 40, 6, 0);
        return error ? error : 6;
    case DSMIP_FORMAT_IPV4:
        write_ipv4((struct iphdr *)outer.bytes, path, inner, protocol, payload);
        error = put_outer(skb, inner, &outer, 20, 4, 0);
        return error ? error : 4;
    case DSMIP_FORMAT_UDP4:
        udp = write_udp(outer.bytes + 20, manner, payload);
        write_ipv4((struct iphdr *)outer.bytes, path, inner, IPPROTO_UDP, udp + payload);
        error = put_outer(skb, inner, &outer, 20 + udp, 4, 1);
        return error ? error : 4;
    case DSMIP_FORMAT_UDP6:
        udp = write_udp(outer.bytes + 40, manner, payload);
        write_ipv6((struct ipv6hdr *)outer.bytes, path, inner, IPPROTO_UDP, udp + payload,
                   bpf_get_hash_recalc(skb));
        error = put_outer(skb, inner, &outer, 40 + udp, 6, 1);
        return error ? error : 6;
    }
    return -1;
}

#endif
