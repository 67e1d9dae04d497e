/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Which flow rule matches a packet (RFC 6088, RFC 6089 section 5.3.6).
 *
 * Rules are tried one after the other only for the first packet of a flow; what came out is kept in a small
 * cache of each CPU, so the number of rules does not matter to the packets that follow. */
#ifndef DSMIP_FLOWS_H
#define DSMIP_FLOWS_H

#include "packet.bpf.h"

#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define MAX_EXTENSIONS 6
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 1
#define IPV6_OFFSET 0xfff8
/* ICMPv6 of Mobile IPv6 (RFC 6275 sections 6.5 to 6.8): home agent address discovery, mobile prefixes. */
#define FIRST_MOBILITY_TYPE 144
#define LAST_MOBILITY_TYPE 147

#define FLOW_CACHE_BITS 10
#define FRAGMENT_CACHE 1024

/* What rules look at, and whose: with the generation of its rules it is the key of a cached decision. Values in
 * the host's byte order, as in struct dsmip_rule. */
struct flow {
    __u64 source[2];
    __u64 destination[2];
    __u64 generation;
    __u32 index;
    __u32 flow_label;
    __u32 spi;
    __u16 source_port;
    __u16 destination_port;
    __u8 dscp;
    __u8 protocol;
    __u8 version;
    __u8 fields; /* DSMIP_RULE_PORTS, DSMIP_RULE_SPI */
    __u32 from;  /* number of the rule to start with */
};

struct bids {
    __u16 bid[DSMIP_MAX_BIDS]; /* 0 = end */
};

struct decision {
    struct flow flow;
    struct bids bids; /* of the first rule that matches; none when none does */
};

/* The fragments of one packet. */
struct fragment_key {
    __be64 source[2];
    __be64 destination[2];
    __u64 generation;
    __u32 index;
    __be32 identification;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1 << FLOW_CACHE_BITS);
    __type(key, __u32);
    __type(value, struct decision);
} decisions SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, FRAGMENT_CACHE);
    __type(key, struct fragment_key);
    __type(value, struct bids);
} fragments SEC(".maps");

/* Where the upper layer starts, and what the headers before it said. */
struct upper_layer {
    __u32 offset;
    __be32 identification;
    __u8 protocol;
    __u8 fragmented;
    __u8 first; /* fragment, or whole */
};

/* Walk over the extension headers of an inner IPv6 packet that starts at 0. */
static __always_inline void skip_extensions(struct __sk_buff *skb, struct upper_layer *upper)
{
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        __u8 header[8] __attribute__((aligned(8)));

        switch (upper->protocol) {
        case NEXT_HOP_BY_HOP:
        case NEXT_ROUTING:
        case NEXT_DESTINATION:
        case NEXT_FRAGMENT:
            break;
        default:
            return;
        }
        if (bpf_skb_load_bytes(skb, upper->offset, header, sizeof(header)))
            return;
        if (upper->protocol == NEXT_FRAGMENT) {
            __u16 place = bpf_ntohs(*(__be16 *)(header + 2));

            /* A packet in one fragment (RFC 6946) is whole. */
            upper->fragmented = (place & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) != 0;
            upper->first = !(place & IPV6_OFFSET);
            upper->identification = *(__be32 *)(header + 4);
            upper->offset += sizeof(header);
            upper->protocol = header[0];
            if (!upper->first)
                return;
        } else {
            upper->offset += (header[1] + 1) * 8;
            upper->protocol = header[0];
        }
    }
}

static __always_inline void find_upper_layer(struct __sk_buff *skb, const struct inner *inner,
                                             struct upper_layer *upper)
{
    __be16 identification;

    upper->offset = inner->header_length;
    upper->protocol = inner->protocol;
    upper->first = 1;
    if (inner->version == 6) {
        skip_extensions(skb, upper);
    } else if (inner->fragment) {
        upper->fragmented = 1;
        upper->first = !(inner->fragment & IPV4_OFFSET);
        if (!bpf_skb_load_bytes(skb, 4, &identification, sizeof(identification)))
            upper->identification = identification;
    }
}

/* Mobile IPv6's own messages, which no flow rule may touch (RFC 6089 section 4.3). */
static __always_inline int is_mobility(struct __sk_buff *skb, const struct inner *inner,
                                       const struct upper_layer *upper)
{
    __u8 type;

    if (inner->version != 6)
        return 0;
    if (upper->protocol == IPPROTO_MH)
        return 1;
    return upper->protocol == IPPROTO_ICMPV6 && upper->first &&
           !bpf_skb_load_bytes(skb, upper->offset, &type, 1) && type >= FIRST_MOBILITY_TYPE &&
           type <= LAST_MOBILITY_TYPE;
}

/* Ports and SPI, where there are such. */
static __always_inline void read_upper_layer(struct __sk_buff *skb, const struct upper_layer *upper,
                                             struct flow *flow)
{
    __be32 word;

    switch (upper->protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
        if (bpf_skb_load_bytes(skb, upper->offset, &word, sizeof(word)))
            return;
        word = bpf_ntohl(word);
        flow->source_port = word >> 16;
        flow->destination_port = word;
        flow->fields = DSMIP_RULE_PORTS;
        return;
    case IPPROTO_ESP:
        if (bpf_skb_load_bytes(skb, upper->offset, &word, sizeof(word)))
            return;
        break;
    case NEXT_AUTHENTICATION:
        if (bpf_skb_load_bytes(skb, upper->offset + 4, &word, sizeof(word)))
            return;
        break;
    default:
        return;
    }
    flow->spi = bpf_ntohl(word);
    flow->fields = DSMIP_RULE_SPI;
}

static __always_inline void read_flow(const struct inner *inner, struct flow *flow)
{
    if (inner->version == 6) {
        flow->source[0] = bpf_be64_to_cpu(inner->source[0]);
        flow->source[1] = bpf_be64_to_cpu(inner->source[1]);
        flow->destination[0] = bpf_be64_to_cpu(inner->destination[0]);
        flow->destination[1] = bpf_be64_to_cpu(inner->destination[1]);
        flow->flow_label = inner->flow_label;
    } else {
        flow->source[1] = bpf_ntohl(*(__be32 *)inner->source);
        flow->destination[1] = bpf_ntohl(*(__be32 *)inner->destination);
    }
    flow->dscp = inner->traffic_class >> 2;
    flow->version = inner->version;
}

static __always_inline int is_within(const __u64 *value, const __u64 *first, const __u64 *last)
{
    if (value[0] < first[0] || (value[0] == first[0] && value[1] < first[1]))
        return 0;
    return value[0] < last[0] || (value[0] == last[0] && value[1] <= last[1]);
}

static __always_inline int rule_matches(const struct dsmip_rule *rule, const struct flow *flow)
{
    if (rule->version != flow->version)
        return 0;
    if ((__u8)(flow->protocol - rule->protocol) > rule->protocol_span)
        return 0;
    if ((__u16)(flow->destination_port - rule->destination_port) > rule->destination_port_span)
        return 0;
    if ((__u16)(flow->source_port - rule->source_port) > rule->source_port_span)
        return 0;
    if (rule->needs & (DSMIP_RULE_PORTS | DSMIP_RULE_SPI | DSMIP_RULE_NEVER) & ~flow->fields)
        return 0;
    if ((__u8)(flow->dscp - rule->dscp) > rule->dscp_span)
        return 0;
    if ((__u32)(flow->flow_label - rule->flow_label) > rule->flow_label_span)
        return 0;
    if ((__u32)(flow->spi - rule->spi) > rule->spi_span)
        return 0;
    if (rule->needs & DSMIP_RULE_DESTINATION &&
        !is_within(flow->destination, rule->destination_first, rule->destination_last))
        return 0;
    return !(rule->needs & DSMIP_RULE_SOURCE) ||
           is_within(flow->source, rule->source_first, rule->source_last);
}

/* What does not change in a loop is read in each round all the same: the verifier, which walks through all of
 * them, would keep a state for every range a comparison leaves a register in. */
#define READ_ANEW(value) (*(volatile __u32 *)&(value))

/* The first rule from number `flow->from` on that matches, DSMIP_MAX_FLOWS if there is none. Not inlined, and
 * global: so the verifier goes through its loop once, and not for every way that leads here. */
__noinline int find_rule(struct flow *flow)
{
    struct dsmip_rules *all;
    __u32 index;

    if (!flow)
        return DSMIP_MAX_FLOWS;
    index = flow->index;
    all = bpf_map_lookup_elem(&rules, &index);
    if (!all)
        return DSMIP_MAX_FLOWS;
    for (__u32 number = 0; number < DSMIP_MAX_FLOWS; number++) {
        if (number >= READ_ANEW(all->count))
            break;
        if (number >= READ_ANEW(flow->from) && rule_matches(&all->rule[number], flow))
            return number;
    }
    return DSMIP_MAX_FLOWS;
}

/* The BIDs of a rule of this binding. */
static __always_inline void bids_of_rule(__u32 index, __u32 number, struct bids *bids)
{
    struct dsmip_rules *all = bpf_map_lookup_elem(&rules, &index);

    if (all && number < DSMIP_MAX_FLOWS)
        __builtin_memcpy(bids, all->rule[number].bids, sizeof(*bids));
}

static __always_inline int is_same_flow(const struct flow *one, const struct flow *other)
{
    const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;
    __u64 difference = 0;

#pragma unroll
    for (int i = 0; i < sizeof(struct flow) / 8; i++)
        difference |= a[i] ^ b[i];
    return !difference;
}

/* Where in the cache a flow belongs: of its addresses and ports, the upper bits of a product. */
static __always_inline __u32 place_of(const struct flow *flow)
{
    __u64 sum = flow->source[0] + 3 * flow->source[1] + 5 * flow->destination[0] + 7 * flow->destination[1];

    sum += (__u64)flow->source_port << 32 | (__u64)flow->destination_port << 16 | flow->protocol;
    return ((sum ^ flow->spi) * 0x9e3779b97f4a7c15ULL) >> (64 - FLOW_CACHE_BITS);
}

/* The first matching rule's BIDs; `bids` stays empty when no rule matches. */
static __always_inline void first_rule(struct flow *flow, struct bids *bids)
{
    __u32 place = place_of(flow);
    struct decision *known = bpf_map_lookup_elem(&decisions, &place);

    if (known && is_same_flow(&known->flow, flow)) {
        __builtin_memcpy(bids, &known->bids, sizeof(*bids));
        return;
    }
    bids_of_rule(flow->index, find_rule(flow), bids);
    if (known) {
        __builtin_memcpy(&known->flow, flow, sizeof(*flow));
        __builtin_memcpy(&known->bids, bids, sizeof(*bids));
    }
}

/* What the flow rules say of a packet in the tunnel device: its flow, and the BIDs of the first rule that
 * matches. Fragments go the way of the first one of their packet, which has the ports; those that overtook it
 * are matched by what they have. */
static __always_inline void classify(struct __sk_buff *skb, const struct inner *inner, struct flow *flow,
                                     struct bids *bids)
{
    struct upper_layer upper = {};
    struct fragment_key key = {};
    struct bids *first;

    find_upper_layer(skb, inner, &upper);
    if (is_mobility(skb, inner, &upper))
        return;
    read_flow(inner, flow);
    flow->protocol = upper.protocol;
    if (upper.first)
        read_upper_layer(skb, &upper, flow);
    if (upper.fragmented) {
        __builtin_memcpy(key.source, inner->source, 16);
        __builtin_memcpy(key.destination, inner->destination, 16);
        key.generation = flow->generation;
        key.index = flow->index;
        key.identification = upper.identification;
        first = upper.first ? NULL : bpf_map_lookup_elem(&fragments, &key);
        if (first) {
            __builtin_memcpy(bids, first, sizeof(*bids));
            return;
        }
    }
    first_rule(flow, bids);
    if (upper.fragmented && upper.first)
        bpf_map_update_elem(&fragments, &key, bids, BPF_ANY);
}

#endif
