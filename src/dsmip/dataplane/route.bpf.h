/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Out of the right interface, to the right neighbour. */
#ifndef DSMIP_ROUTE_H
#define DSMIP_ROUTE_H

#include "packet.bpf.h"

#define NEXT_HOP_BITS 11
/* How long a route is believed, in ticks of the kernel, which are the cheapest clock to read: 5 to 50 ms.
 * Short enough to be no outage when it changes, long enough for hundreds of packets at speed: the look into
 * routing and neighbour tables is the longest step of a packet's way. */
#define NEXT_HOP_TICKS 5

/* The way to an outer destination, found out a moment ago. */
struct next_hop {
    __u64 found; /* in ticks */
    __u8 local[16];
    __u8 remote[16];
    __u32 interface;
    __u16 version;
    struct ethhdr ethernet;
    __u32 reserved;
};

DSMIP_ARRAY(next_hops, BPF_MAP_TYPE_PERCPU_ARRAY, struct next_hop, 1 << NEXT_HOP_BITS);

/* Hand a packet with room for an Ethernet header to a neighbour; `family` 0 = the kernel looks the next hop
 * up. */
static __always_inline int to_neighbour(__u32 interface, __u32 family, const __u8 *next_hop)
{
    struct bpf_redir_neigh neighbour = {};

    if (!family)
        return bpf_redirect_neigh(interface, NULL, 0, 0);
    neighbour.nh_family = family;
    __builtin_memcpy(neighbour.ipv6_nh, next_hop, 16); /* IPv4: the first four octets */
    return bpf_redirect_neigh(interface, &neighbour, sizeof(neighbour), 0);
}

/* The same with a packet as it came: the tunnel device has no link-layer header, and bpf_redirect_neigh insists
 * on one to replace. */
static __always_inline int plain_to_neighbour(struct __sk_buff *skb, __u32 interface, __u32 family,
                                              const __u8 *next_hop)
{
    if (bpf_skb_change_head(skb, ETH_HLEN, 0))
        return drop(DSMIP_DROP_FAILED);
    return to_neighbour(interface, family, next_hop);
}

static __always_inline struct next_hop *next_hop_slot(const struct dsmip_path *path)
{
    const __u32 *remote = (const __u32 *)path->remote;
    __u32 place = remote[0] ^ remote[1] ^ remote[2] ^ remote[3];

    place = (place * 0x9e3779b1) >> (32 - NEXT_HOP_BITS); /* the upper bits depend on all others */
    return bpf_map_lookup_elem(&next_hops, &place);
}

static __always_inline int is_way_of(const struct next_hop *known, const struct dsmip_path *path, int version)
{
    const __u64 *a = (const __u64 *)known->local, *b = (const __u64 *)path->local; /* and remote behind it */

    return known->version == version && !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) &&
           bpf_jiffies64() - known->found < NEXT_HOP_TICKS;
}

/* Send a packet with room for an Ethernet header in front of it. */
static __always_inline int send_frame(struct __sk_buff *skb, __u32 interface, const struct ethhdr *ethernet)
{
    struct ethhdr *header = (struct ethhdr *)(long)skb->data;

    if ((const __u8 *)(header + 1) > (const __u8 *)(long)skb->data_end)
        return drop(DSMIP_DROP_FAILED);
    *header = *ethernet;
    return bpf_redirect(interface, 0);
}

/* For a packet with room for an Ethernet header: look the route up once in a while and, when the neighbour is
 * known, save the kernel a second look. */
static __always_inline int by_route(struct __sk_buff *skb, const struct dsmip_path *path, int outer_version)
{
    struct bpf_fib_lookup route = {.ifindex = skb->ifindex};
    struct next_hop *known = next_hop_slot(path);
    struct ethhdr ethernet;
    long result;

    if (known && is_way_of(known, path, outer_version))
        return send_frame(skb, known->interface, &known->ethernet);
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
        return to_neighbour(route.ifindex, 0, NULL);
    if (result != BPF_FIB_LKUP_RET_SUCCESS)
        return drop(DSMIP_DROP_NO_PATH);
    __builtin_memcpy(ethernet.h_dest, route.dmac, ETH_ALEN);
    __builtin_memcpy(ethernet.h_source, route.smac, ETH_ALEN);
    ethernet.h_proto = outer_version == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (known) {
        __builtin_memcpy(known->local, path->local, 16);
        __builtin_memcpy(known->remote, path->remote, 16);
        known->interface = route.ifindex;
        known->version = outer_version;
        known->ethernet = ethernet;
        known->found = bpf_jiffies64();
    }
    return send_frame(skb, route.ifindex, &ethernet);
}

#endif
