/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Out of the tunnel: whose packet is it, may it come from there, off with the outer headers. */
#ifndef DSMIP_DECAPSULATE_H
#define DSMIP_DECAPSULATE_H

#include "mss.bpf.h"
#include "probes.bpf.h"
#include "protection.bpf.h"

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
    __u32 length;   /* of all outer headers */
    __u32 sequence; /* where `sequenced` */
    __be16 port;    /* of UDP, 0 = protocols 41 and 4 */
    __u16 bid;      /* of the path that has this destination, 0 = not known */
    __u8 traffic_class;
    __u8 version;   /* 4 or 6 */
    __u8 sequenced; /* travels in copies */
    __u8 reserved;
};

/* What a window is made of: too large for the stack. */
DSMIP_ARRAY(blank, BPF_MAP_TYPE_ARRAY, struct dsmip_window, 1);

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
    __u64 flags = 0;
    __u8 word[2];

    if (bpf_skb_load_bytes(skb, offset, word, 2))
        return -1;
    if (inner->version == 6) {
        word[1] = (word[1] & 0x0f) | traffic_class << 4;
        flags = BPF_F_RECOMPUTE_CSUM;
    } else {
        __be16 before = *(__be16 *)word, after;

        word[1] = traffic_class;
        after = *(__be16 *)word;
        /* Word and header checksum undo each other in the sum over the whole packet. */
        if (bpf_l3_csum_replace(skb, offset + 10, before, after, 2))
            return -1;
    }
    return bpf_skb_store_bytes(skb, offset, word, 2, flags);
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

/* Whether this is the second copy of a packet. A number takes the place of the one that has the same last
 * bits, DSMIP_WINDOW packets before: later copies are taken for new packets. */
static __always_inline int is_duplicate(__u32 index, __u32 sequence)
{
    struct dsmip_window *window = bpf_map_lookup_elem(&windows, &index);
    __u32 zero = 0;

    if (!window) {
        struct dsmip_window *empty = bpf_map_lookup_elem(&blank, &zero);

        if (!empty)
            return 0;
        bpf_map_update_elem(&windows, &index, empty, BPF_NOEXIST);
        window = bpf_map_lookup_elem(&windows, &index);
        if (!window)
            return 0;
    }
    return __sync_lock_test_and_set(&window->sequence[sequence & (DSMIP_WINDOW - 1)], sequence) == sequence;
}

/* The entry that allows this outer source. Copies travel in UDP where other packets may not. */
static __always_inline struct dsmip_source *source_of(const struct dsmip_settings *config, __u32 index,
                                                      const struct outer_header *outer)
{
    struct dsmip_source_key key = {.index = index, .port = outer->port, .family = outer->family};
    struct dsmip_source *source;

    __builtin_memcpy(key.address, outer->source, 16);
    source = bpf_map_lookup_elem(&sources, &key);
    if (source || !outer->sequenced || outer->port != config->udp_port)
        return source;
    key.port = 0;
    return bpf_map_lookup_elem(&sources, &key);
}

/* Copies are understood only where both ends agreed on them. */
static __always_inline int is_agreed(__u32 index)
{
    struct dsmip_choice *choice = bpf_map_lookup_elem(&choices, &index);

    return choice && choice->duplication;
}

/* A tunnelled packet whose inner header starts at `offset`: check it, unwrap it, hand it to the kernel as
 * received on the tunnel device. */
static __always_inline int decapsulate(struct __sk_buff *skb, const struct dsmip_settings *config,
                                       __u32 offset, const struct outer_header *outer,
                                       const struct inner *inner)
{
    __u32 link = offset - outer->length, index;
    struct dsmip_traffic *counters;
    struct dsmip_source *source;
    struct dsmip_path *path;
    struct probe probe;
    long binding;
    __u16 bid;
    int ecn;

    /* Segmentation-offload packets carry the length of one segment, or none, in their headers. */
    if (!skb->gso_segs && offset + inner->length > skb->len)
        return drop(DSMIP_DROP_MALFORMED);
    binding = usual_binding_of(config, inner->version,
                               config->role == DSMIP_HOME_AGENT ? inner->source : inner->destination);
    if (binding == NO_BINDING)
        return drop(DSMIP_DROP_INNER_ADDRESS);
    index = binding;
    source = source_of(config, index, outer);
    if (!source)
        return drop(DSMIP_DROP_OUTER_SOURCE);
    if (has_passed(source->until_ns))
        return drop(DSMIP_DROP_EXPIRED);
    if (config->protection && is_exposed(skb, index, inner, offset, INWARD))
        return drop(DSMIP_DROP_NOT_PROTECTED);
    bid = outer->bid ? outer->bid : source->bid;
    if (inner->protocol == IPPROTO_ICMPV6 && inner->version == 6 && !outer->sequenced) {
        if (config->role == DSMIP_MOBILE_NODE) {
            if (!read_probe(skb, offset, ECHO_REPLY, &probe))
                hear_answer(skb, link, index, outer->version, &probe);
        } else if (!read_probe(skb, offset, ECHO_REQUEST, &probe) &&
                   local_entry(DSMIP_AF_INET6, inner->destination, 0)) {
            path = path_of(index, bid);
            if (path) {
                note(path, &probe);
                heed_mtu(path, &probe);
            }
            return reflect(skb, link, offset, outer->version, outer->port != 0, &probe);
        }
    }
    if (outer->sequenced) {
        if (!is_agreed(index))
            return drop(DSMIP_DROP_MALFORMED);
        if (is_duplicate(index, outer->sequence))
            return drop(DSMIP_DROP_DUPLICATES);
    }
    ecn = merge_ecn(inner->traffic_class, outer->traffic_class);
    if (ecn < 0)
        return drop(DSMIP_DROP_ECN);
    if (ecn != (inner->traffic_class & ECN_MASK) && set_ecn(skb, offset, inner, ecn))
        return drop(DSMIP_DROP_FAILED);
    if (is_syn(skb, inner, offset)) {
        path = path_of(index, bid);
        if (path)
            clamp_mss(skb, offset, inner->header_length, path->mtu);
    }
    counters = traffic_of(index, bid);
    if (counters) {
        __sync_fetch_and_add(&counters->received_packets, packets_in(skb, offset, inner));
        __sync_fetch_and_add(&counters->received_bytes, skb->len - offset);
    }
    if (remove_outer(skb, outer, inner))
        return drop(DSMIP_DROP_FAILED);
    skb->mark = 0; /* a mark of the outer packet says nothing about the inner one */
    return bpf_redirect(config->device, BPF_F_INGRESS);
}

#endif
