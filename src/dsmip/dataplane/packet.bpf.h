/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Reading inner packets: family, addresses, traffic class. */
#ifndef DSMIP_PACKET_H
#define DSMIP_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "state.bpf.h"

#ifndef IPPROTO_MH
#define IPPROTO_MH 135
#endif

/* linux/in6.h does not live well with linux/in.h in every release. */
#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_DESTINATION 60

/* An inner packet, as far as a tunnel needs to know it. Both ends in 16 octets, IPv4 in the first four. */
struct inner {
    __u8 source[16];
    __u8 destination[16];
    __u32 length;       /* of the whole inner packet, as its header says */
    __u8 version;       /* 4 or 6 */
    __u8 traffic_class; /* DSCP and ECN */
    __u8 protocol;      /* next header right behind the IP header */
};

static __always_inline __u8 traffic_class6(const __u8 *header)
{
    return header[0] << 4 | header[1] >> 4;
}

/* Read the inner IP header that starts at `offset`. Returns 0, or -1 when there is no sound one. */
static __always_inline int read_inner(struct __sk_buff *skb, __u32 offset, struct inner *inner)
{
    __u8 header[40] = {};

    if (bpf_skb_load_bytes(skb, offset, header, 20))
        return -1;
    inner->version = header[0] >> 4;
    if (inner->version == 6) {
        if (bpf_skb_load_bytes(skb, offset, header, 40))
            return -1;
        __builtin_memcpy(inner->source, header + 8, 16);
        __builtin_memcpy(inner->destination, header + 24, 16);
        inner->traffic_class = traffic_class6(header);
        inner->protocol = header[6];
        inner->length = 40 + (header[4] << 8 | header[5]);
        return 0;
    }
    if (inner->version == 4) {
        __u32 header_length = (header[0] & 0x0f) * 4;

        inner->length = header[2] << 8 | header[3];
        if (header_length < 20 || inner->length < header_length)
            return -1;
        __builtin_memset(inner->source, 0, 16);
        __builtin_memset(inner->destination, 0, 16);
        __builtin_memcpy(inner->source, header + 12, 4);
        __builtin_memcpy(inner->destination, header + 16, 4);
        inner->traffic_class = header[1];
        inner->protocol = header[9];
        return 0;
    }
    return -1;
}

/* The binding an inner address belongs to. */
static __always_inline __u32 *binding_of(__u8 version, const __u8 *address)
{
    if (version == 6) {
        struct dsmip_network6 key = {.prefix_length = 128};

        __builtin_memcpy(key.address, address, 16);
        return bpf_map_lookup_elem(&networks6, &key);
    } else {
        struct dsmip_network4 key = {.prefix_length = 32};

        __builtin_memcpy(key.address, address, 4);
        return bpf_map_lookup_elem(&networks4, &key);
    }
}

/* Whether an outer destination (or the destination of signalling in UDP) is one of our own addresses. */
static __always_inline int is_local(__u32 family, const __u8 *address)
{
    struct dsmip_local key = {.family = family};

    __builtin_memcpy(key.address, address, family == DSMIP_AF_INET6 ? 16 : 4);
    return bpf_map_lookup_elem(&local, &key) != NULL;
}

#endif
