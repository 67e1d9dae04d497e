/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Into the tunnel: outer headers in front, and out of the right interface. */
#ifndef DSMIP_ENCAPSULATE_H
#define DSMIP_ENCAPSULATE_H

#include "packet.bpf.h"

#define OUTER_HOP_LIMIT 64
#define IPV4_DONT_FRAGMENT 0x4000
#define EALREADY 114
#define LOOPBACK_IFINDEX 1

/* The longest outer header: IPv6 and UDP. */
struct outer {
    __u8 bytes[48];
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

/* No checksum: RFC 768 allows that over IPv4, RFC 6935 over IPv6 for tunnels. The inner packet has its own. */
static __always_inline void write_udp(struct udphdr *header, const struct dsmip_path *path, __u32 payload)
{
    header->source = path->local_port;
    header->dest = path->remote_port;
    header->len = bpf_htons(sizeof(*header) + payload);
    header->check = 0;
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
                                       const struct inner *inner)
{
    __u8 protocol = inner->version == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
    __u32 flow_label = bpf_get_hash_recalc(skb);
    __u32 payload = skb->len;
    struct outer outer;
    long error;

    switch (path->format) {
    case DSMIP_FORMAT_IPV6:
        write_ipv6((struct ipv6hdr *)outer.bytes, path, inner, protocol, payload, flow_label);
        error = put_outer(skb, inner, &outer, 40, 6, 0);
        return error ? error : 6;
    case DSMIP_FORMAT_IPV4:
        write_ipv4((struct iphdr *)outer.bytes, path, inner, protocol, payload);
        error = put_outer(skb, inner, &outer, 20, 4, 0);
        return error ? error : 4;
    case DSMIP_FORMAT_UDP4:
        write_ipv4((struct iphdr *)outer.bytes, path, inner, IPPROTO_UDP, payload + 8);
        write_udp((struct udphdr *)(outer.bytes + 20), path, payload);
        error = put_outer(skb, inner, &outer, 28, 4, 1);
        return error ? error : 4;
    case DSMIP_FORMAT_UDP6:
        write_ipv6((struct ipv6hdr *)outer.bytes, path, inner, IPPROTO_UDP, payload + 8, flow_label);
        write_udp((struct udphdr *)(outer.bytes + 40), path, payload);
        error = put_outer(skb, inner, &outer, 48, 6, 1);
        return error ? error : 6;
    }
    return -1;
}

/* Hand the packet to a neighbour on an Ethernet link; `family` 0 = the kernel looks the next hop up.
 * The tunnel device has no link-layer header, and bpf_redirect_neigh insists on one to replace. */
static __always_inline int to_neighbour(struct __sk_buff *skb, __u32 interface, __u32 family,
                                        const __u8 *next_hop)
{
    struct bpf_redir_neigh neighbour = {};

    if (bpf_skb_change_head(skb, ETH_HLEN, 0))
        return drop(DSMIP_DROP_FAILED);
    if (!family)
        return bpf_redirect_neigh(interface, NULL, 0, 0);
    neighbour.nh_family = family;
    __builtin_memcpy(neighbour.ipv6_nh, next_hop, 16); /* IPv4: the first four octets */
    return bpf_redirect_neigh(interface, &neighbour, sizeof(neighbour), 0);
}

/* Look the route up once and, when the neighbour is known, save the kernel a second look. */
static __always_inline int by_route(struct __sk_buff *skb, const struct dsmip_path *path, int outer_version)
{
    struct bpf_fib_lookup route = {.ifindex = skb->ifindex};
    struct ethhdr ethernet;
    long result;

    if (outer_version == 6) {
        route.family = DSMIP_AF_INET6;
        __builtin_memcpy(route.ipv6_src, path->local, 16);
        __builtin_memcpy(route.ipv6_dst, path->remote, 16);
    } else {
        route.family = DSMIP_AF_INET;
        __builtin_memcpy(&route.ipv4_src, path->local, 4);
        __builtin_memcpy(&route.ipv4_dst, path->remote, 4);
    }
    result = bpf_fib_lookup(skb, &route, sizeof(route), 0);
    if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
        /* Not to the next hop just found: the kernel keeps the packet while it resolves the neighbour, then
         * sends it by the route it came with, the tunnel device's: bpf_redirect_neigh must give it another. */
        return to_neighbour(skb, route.ifindex, 0, NULL);
    if (result != BPF_FIB_LKUP_RET_SUCCESS)
        return drop(DSMIP_DROP_NO_PATH);
    __builtin_memcpy(ethernet.h_dest, route.dmac, ETH_ALEN);
    __builtin_memcpy(ethernet.h_source, route.smac, ETH_ALEN);
    ethernet.h_proto = outer_version == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (bpf_skb_change_head(skb, ETH_HLEN, 0) || bpf_skb_store_bytes(skb, 0, &ethernet, ETH_HLEN, 0))
        return drop(DSMIP_DROP_FAILED);
    return bpf_redirect(route.ifindex, 0);
}

/* From one mobile node to another with segmentation offload: the packet bears the marks of the tunnel it came
 * out of (skb->encapsulation, gso_type), with which nobody could cut it into segments behind another outer
 * header. The loopback device offloads nothing for such packets: they are cut there and come back one by one. */
static __always_inline int segment_first(struct __sk_buff *skb, const struct inner *inner)
{
    struct ethhdr ethernet = {};

    ethernet.h_proto = inner->version == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (bpf_skb_change_head(skb, ETH_HLEN, 0) || bpf_skb_store_bytes(skb, 0, &ethernet, ETH_HLEN, 0))
        return drop(DSMIP_DROP_FAILED);
    return bpf_redirect(LOOPBACK_IFINDEX, 0);
}

/* Send the packet over the path of binding `index`. */
static __always_inline int encapsulate(struct __sk_buff *skb, __u32 index, const struct inner *inner)
{
    struct dsmip_path_key key = {.index = index};
    struct dsmip_path *path = bpf_map_lookup_elem(&paths, &key);
    __u64 packets = packets_in(skb), bytes = skb->len;
    struct dsmip_traffic *counters;
    long outer_version;

    if (!path)
        return drop(DSMIP_DROP_NO_PATH);
    if (has_passed(path->expires_ns))
        return drop(DSMIP_DROP_EXPIRED);
    if (path->format == DSMIP_FORMAT_LINK)
        return to_neighbour(skb, path->interface, path->next_hop_family, path->next_hop);
    outer_version = write_outer(skb, path, inner);
    if (outer_version == -EALREADY)
        return segment_first(skb, inner);
    if (outer_version < 0)
        return drop(DSMIP_DROP_FAILED);
    counters = traffic_of(index);
    if (counters) {
        __sync_fetch_and_add(&counters->sent_packets, packets);
        __sync_fetch_and_add(&counters->sent_bytes, bytes);
    }
    if (!path->interface)
        return by_route(skb, path, outer_version);
    if (path->flags & DSMIP_PATH_RAW)
        return bpf_redirect(path->interface, 0);
    return to_neighbour(skb, path->interface, path->next_hop_family, path->next_hop);
}

#endif
