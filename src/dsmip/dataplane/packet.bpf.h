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

/* No header that is looked at starts later than this: link layer, outer headers and IPv4 options. All bits set. */
#define FARTHEST_HEADER 255

/* Of IKE (RFC 7296 section 2). Inside the tunnel there is no NAT, and no port 4500. */
#define IKE_PORT 500

#define SHORTEST_IPV4 20
#define IPV6_HEADER 40
#define TCP_DATA_OFFSET 12

/* An inner packet, as far as a tunnel needs to know it. Both ends in 16 octets, IPv4 in the first four. */
struct inner {
    __be64 source[2];
    __be64 destination[2];
    __u32 length;        /* of the whole inner packet, as its header says */
    __u32 flow_label;    /* IPv6 */
    __u16 header_length; /* of the IP header */
    __u16 fragment;      /* IPv4: more fragments, and the offset */
    __u8 version;        /* 4 or 6 */
    __u8 traffic_class;  /* DSCP and ECN */
    __u8 protocol;       /* next header right behind the IP header */
    __u8 reserved;
};

static __always_inline __u8 traffic_class6(const __u8 *header)
{
    return header[0] << 4 | header[1] >> 4;
}

/* Where `length` octets at `offset` are, NULL if they are not in one piece with the beginning of the packet, as
 * headers usually are. */
static __always_inline const void *in_place(struct __sk_buff *skb, __u32 offset, __u32 length)
{
    const __u8 *place = (const __u8 *)(long)skb->data;

    if (!__builtin_constant_p(offset)) {
        if (offset > FARTHEST_HEADER)
            return NULL;
        asm volatile("" : "+r"(offset));
        offset &= FARTHEST_HEADER; /* where older verifiers have forgotten the comparison */
    }
    place += offset;
    asm volatile("" : "+r"(place)); /* one pointer for the check of its end and for reading, for the verifier */
    return place + length > (const __u8 *)(long)skb->data_end ? NULL : place;
}

/* Read `length` octets, a multiple of 4 known to the compiler, at `offset`: without a call where that can be. */
static __always_inline long read_words(struct __sk_buff *skb, __u32 offset, __u64 *words, __u32 length)
{
    const __u64 *place = in_place(skb, offset, length);

    if (!place)
        return bpf_skb_load_bytes(skb, offset, words, length);
#pragma unroll
    for (__u32 i = 0; i < length / 8; i++)
        words[i] = place[i];
    if (length % 8)
        *(__u32 *)&words[length / 8] = *(const __u32 *)&place[length / 8];
    return 0;
}

/* The same of four octets, such as ports. */
static __always_inline long read_word(struct __sk_buff *skb, __u32 offset, __be32 *word)
{
    const __be32 *place = in_place(skb, offset, sizeof(*word));

    if (!place)
        return bpf_skb_load_bytes(skb, offset, word, sizeof(*word));
    *word = *place;
    return 0;
}

/* The first octets of the IP header at `offset`: as many as IPv6 has, or at least IPv4's. */
static __always_inline long read_header(struct __sk_buff *skb, __u32 offset, __u64 *header)
{
    if (!read_words(skb, offset, header, IPV6_HEADER))
        return 0;
    return bpf_skb_load_bytes(skb, offset, header, SHORTEST_IPV4);
}

/* Read the inner IP header that starts at `offset`. Returns 0, or -1 when there is no sound one. */
static __always_inline int read_inner(struct __sk_buff *skb, __u32 offset, struct inner *inner)
{
    __u64 words[IPV6_HEADER / 8] = {};
    const __u8 *header = (const __u8 *)words;

    if (read_header(skb, offset, words))
        return -1;
    inner->version = header[0] >> 4;
    if (inner->version == 6) {
        if (offset + IPV6_HEADER > skb->len)
            return -1;
        __builtin_memcpy(inner->source, header + 8, 16);
        __builtin_memcpy(inner->destination, header + 24, 16);
        inner->traffic_class = traffic_class6(header);
        inner->flow_label = bpf_ntohl(*(__be32 *)header) & 0xfffff;
        inner->protocol = header[6];
        inner->header_length = IPV6_HEADER;
        inner->length = IPV6_HEADER + bpf_ntohs(*(__be16 *)(header + 4));
        return 0;
    }
    if (inner->version == 4) {
        inner->header_length = (header[0] & 0x0f) * 4;
        inner->length = bpf_ntohs(*(__be16 *)(header + 2));
        if (inner->header_length < SHORTEST_IPV4 || inner->length < inner->header_length)
            return -1;
        __builtin_memset(inner->source, 0, 16);
        __builtin_memset(inner->destination, 0, 16);
        __builtin_memcpy(inner->source, header + 12, 4);
        __builtin_memcpy(inner->destination, header + 16, 4);
        inner->traffic_class = header[1];
        inner->fragment = bpf_ntohs(*(__be16 *)(header + 6)) & 0x3fff;
        inner->protocol = header[9];
        return 0;
    }
    return -1;
}

/* Octets of the transport header behind the inner IP header that starts at `offset`: TCP's, or those of UDP. */
static __always_inline __u32 transport_length(struct __sk_buff *skb, __u32 offset, const struct inner *inner)
{
    __u32 place = offset + inner->header_length + TCP_DATA_OFFSET;
    __u8 words;

    if (inner->protocol == IPPROTO_TCP && !bpf_skb_load_bytes(skb, place, &words, sizeof(words)))
        return (words >> 4) * 4;
    return sizeof(struct udphdr);
}

/* How many packets on the wire this one stands for; its inner header starts at `offset`. Segmentation-offload
 * packets from a virtual machine's network card come without their number. */
static __always_inline __u64 packets_in(struct __sk_buff *skb, __u32 offset, const struct inner *inner)
{
    __u32 segments = skb->gso_segs, size = skb->gso_size, headers;

    if (segments || !size)
        return segments ? segments : 1;
    headers = offset + inner->header_length + transport_length(skb, offset, inner);
    return skb->len > headers ? (skb->len - headers + size - 1) / size : 1;
}

/* Key exchange inside the tunnel: UDP with IKE's port as destination, or as source of a home agent's answer. The
 * inner header starts at `offset`. */
static __always_inline int is_key_exchange(struct __sk_buff *skb, __u32 offset, const struct inner *inner,
                                           int answer)
{
    __u32 ports;

    if (inner->version != 6 || inner->protocol != IPPROTO_UDP || read_word(skb, offset + IPV6_HEADER, &ports))
        return 0;
    ports = bpf_ntohl(ports);
    return (answer ? ports >> 16 : ports & 0xffff) == IKE_PORT;
}

static __always_inline __be64 leading_bits(__be64 address, __u32 bits)
{
    return bits ? address & bpf_cpu_to_be64(~0ULL << (64 - bits)) : 0;
}

#define NO_BINDING -1

/* The index of the binding an IPv6 address belongs to, or NO_BINDING: one look for each prefix length in use. A
 * longest-prefix trie takes a step for each of its levels, and a cache miss with it: with ten thousand bindings
 * that was most of the time of a packet. Not inlined, and global: verified once. */
__noinline long find_binding6(__be64 high, __be64 low)
{
    struct dsmip_network6 key = {};

    for (__u32 number = 0; number < DSMIP_LENGTHS6; number++) {
        __u32 place = number, *length = bpf_map_lookup_elem(&lengths6, &place), *index;

        if (!length || !*length)
            break;
        key.prefix_length = *length - 1;
        if (key.prefix_length >= 64) {
            key.address[0] = high;
            key.address[1] = leading_bits(low, key.prefix_length - 64);
        } else {
            key.address[0] = leading_bits(high, key.prefix_length);
            key.address[1] = 0;
        }
        index = bpf_map_lookup_elem(&networks6, &key);
        if (index)
            return *index;
    }
    return NO_BINDING;
}

/* The same of an IPv4 address. */
__noinline long find_binding4(__be32 address)
{
    struct dsmip_network4 key = {};

    for (__u32 number = 0; number < DSMIP_LENGTHS4; number++) {
        __u32 place = number, *length = bpf_map_lookup_elem(&lengths4, &place), *index;

        if (!length || !*length)
            break;
        key.prefix_length = *length - 1;
        key.address = key.prefix_length ? address & bpf_htonl(~0U << (32 - key.prefix_length)) : 0;
        index = bpf_map_lookup_elem(&networks4, &key);
        if (index)
            return *index;
    }
    return NO_BINDING;
}

/* The index of the binding an inner address belongs to, or NO_BINDING. */
static __always_inline long binding_of(__u8 version, const __be64 *address)
{
    return version == 6 ? find_binding6(address[0], address[1]) : find_binding4(*(__be32 *)address);
}

#define KNOWN_BINDING_BITS 10

/* Whose an inner address was when it was looked at last. */
struct known_binding {
    __be64 address[2];
    __u32 generation;
    __u32 index;
    __u32 version; /* 4 or 6; 0 = empty */
    __u32 reserved;
};

DSMIP_ARRAY(known_bindings, BPF_MAP_TYPE_PERCPU_ARRAY, struct known_binding, 1 << KNOWN_BINDING_BITS);

/* The same as binding_of, remembered for the packets that follow: one look without a call. */
static __always_inline long usual_binding_of(const struct dsmip_settings *config, __u8 version,
                                             const __be64 *address)
{
    __u64 folded = (address[0] ^ address[1]) * 0x9e3779b97f4a7c15ULL;
    __u32 place = folded >> (64 - KNOWN_BINDING_BITS), generation = config->generation;
    struct known_binding *known = bpf_map_lookup_elem(&known_bindings, &place);
    long index;

    if (known && known->address[0] == address[0] && known->address[1] == address[1] &&
        known->version == version && known->generation == generation)
        return known->index;
    index = binding_of(version, address);
    if (known && index != NO_BINDING) {
        known->address[0] = address[0];
        known->address[1] = address[1];
        known->version = version;
        known->generation = generation;
        known->index = index;
    }
    return index;
}

/* The entry of an address that is one of our own on `interface`, 0 = on all: its BID. */
static __always_inline __u16 *local_entry(__u32 family, const void *address, __u32 interface)
{
    struct dsmip_local key = {.family = family, .interface = interface};

    __builtin_memcpy(key.address, address, family == DSMIP_AF_INET6 ? 16 : 4);
    return bpf_map_lookup_elem(&local, &key);
}

/* The same of the outer destination of a packet that came in. A home agent's addresses are its own on all
 * interfaces. */
static __always_inline __u16 *destination_entry(const struct __sk_buff *skb, __u32 role, __u32 family,
                                                const void *address)
{
    __u16 *bid = role == DSMIP_MOBILE_NODE ? local_entry(family, address, skb->ifindex) : NULL;

    return bid ? bid : local_entry(family, address, 0);
}

#endif
