/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Out of the tunnel: whose packet is it, may it come from there, off with the outer headers. */
#ifndef DSMIP_DECAPSULATE_H
#define DSMIP_DECAPSULATE_H

#include "packet.bpf.h"

#define ECN_MASK 3
#define NOT_ECT 0
#define ECT_1 1
#define ECT_0 2
#define CE 3

/* Linux 6.3; linux-libc-dev of Debian 12 is older. */
#define DECAP_L3_IPV4 (1ULL << 7)
#define DECAP_L3_IPV6 (1ULL << 8)

/* Set by the loader where the kernel knows the two flags above: they also take UDP segmentation-offload
 * packets, which bpf_skb_change_proto refuses. In a section of its own, as the compiler uses .rodata too. */
const volatile __u32 decapsulate_by_flags SEC(".rodata.loader") = 0;

/* Where a tunnelled packet came from. */
struct outer_header {
    __u8 source[16];
    __u32 family;
    __u32 length; /* of all outer headers */
    __be16 port;  /* of UDP, 0 = protocols 41 and 4 */
    __u8 traffic_class;
    __u8 version; /* 4 or 6 */
};

/* The ECN field of the packet that goes on (RFC 6040 section 4.2), -1 = drop. */
static __always_inline int merge_ecn(__u8 inner, __u8 outer)
{
    inner &= ECN_MASK;
    outer &= ECN_MASK;
    if (outer == CE)
        return inner == NOT_ECT ? -1 : CE;
    if (outer == ECT_1 && inner == ECT_0)
        return ECT_1;
    return inner;
}

static __always_inline long set_ecn(struct __sk_buff *skb, __u32 offset, const struct inner *inner, __u8 ecn)
{
    __u8 traffic_class = (inner->traffic_class & ~ECN_MASK) | ecn;
    __u8 word[2];

    if (bpf_skb_load_bytes(skb, offset, word, 2))
        return -1;
    if (inner->version == 6) {
        word[1] = (word[1] & 0x0f) | traffic_class << 4;
    } else {
        __be16 before = *(__be16 *)word, after;

        word[1] = traffic_class;
        after = *(__be16 *)word;
        if (bpf_l3_csum_replace(skb, offset + 10, before, after, 2))
            return -1;
    }
    return bpf_skb_store_bytes(skb, offset, word, 2, BPF_F_RECOMPUTE_CSUM);
}

/* Take the outer headers away; the packet starts with the inner IP header then, behind the link layer's. */
static __always_inline long remove_outer(struct __sk_buff *skb, const struct outer_header *outer,
                                         const struct inner *inner)
{
    __s32 room = outer->length;
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

    if (outer->version != inner->version) {
        if (decapsulate_by_flags) {
            flags |= inner->version == 6 ? DECAP_L3_IPV6 : DECAP_L3_IPV4;
        } else if (inner->version == 6) {
            if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0))
                return -1;
            room += 20;
        } else {
            if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0))
                return -1;
            room -= 20;
        }
    }
    return bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC, flags);
}

/* A tunnelled packet whose inner header starts at `offset`: check it, unwrap it, hand it to the kernel as
 * received on the tunnel device. */
static __always_inline int decapsulate(struct __sk_buff *skb, const struct dsmip_settings *config,
                                       __u32 offset, const struct outer_header *outer,
                                       const struct inner *inner)
{
    struct dsmip_source_key key = {.port = outer->port, .family = outer->family};
    struct dsmip_traffic *counters;
    struct dsmip_source *source;
    __u32 *index;
    int ecn;

    /* Segmentation-offload packets carry the length of one segment, or none, in their headers. */
    if (!skb->gso_segs && offset + inner->length > skb->len)
        return drop(DSMIP_DROP_MALFORMED);
    index = binding_of(inner->version,
                       config->role == DSMIP_HOME_AGENT ? inner->source : inner->destination);
    if (!index)
        return drop(DSMIP_DROP_INNER_ADDRESS);
    key.index = *index;
    __builtin_memcpy(key.address, outer->source, 16);
    source = bpf_map_lookup_elem(&sources, &key);
    if (!source)
        return drop(DSMIP_DROP_OUTER_SOURCE);
    if (has_passed(source->until_ns))
        return drop(DSMIP_DROP_EXPIRED);
    ecn = merge_ecn(inner->traffic_class, outer->traffic_class);
    if (ecn < 0)
        return drop(DSMIP_DROP_ECN);
    if (ecn != (inner->traffic_class & ECN_MASK) && set_ecn(skb, offset, inner, ecn))
        return drop(DSMIP_DROP_FAILED);
    counters = traffic_of(key.index);
    if (counters) {
        __sync_fetch_and_add(&counters->received_packets, packets_in(skb));
        __sync_fetch_and_add(&counters->received_bytes, skb->len - offset);
    }
    if (remove_outer(skb, outer, inner))
        return drop(DSMIP_DROP_FAILED);
    skb->mark = 0; /* a mark of the outer packet says nothing about the inner one */
    return bpf_redirect(config->device, BPF_F_INGRESS);
}

#endif
