/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Payload protection: which packets of a binding have to be under ESP, and which are.
 *
 * The kernel encrypts and decrypts (XFRM); its ESP goes from home address to home agent, or back, and through the
 * tunnel like any packet. Here nothing else is let through. */
#ifndef DSMIP_PROTECTION_H
#define DSMIP_PROTECTION_H

#include "mss.bpf.h"
#include "paths.bpf.h"

#define NEXT_FRAGMENT 44
#define ICMPV6_INFORMATIONAL 128
#define MAPPED_IPV4 bpf_htonl(0xffff)
#define INDEX_BITS 32
#define INWARD 0
#define OUTWARD 1
/* Of AES-GCM in tunnel mode (RFC 4303, RFC 4106): IPv6 header, SPI and sequence number, IV, check value; then the
 * padding to 4 octets ends with 2 of its own. */
#define ESP_AROUND (IPV6_HEADER + 8 + 8 + 16)
#define ESP_TRAILER 2

/* Whether packets between this binding and that correspondent have to be under ESP. */
static __always_inline int needs_esp(__u32 index, __u8 version, const __be64 *correspondent)
{
    struct dsmip_protected key = {.prefix_length = INDEX_BITS + 128, .index = index};

    if (version == 6) {
        __builtin_memcpy(key.address, correspondent, 16);
    } else {
        key.address[2] = MAPPED_IPV4;
        key.address[3] = *(const __be32 *)correspondent;
    }
    return bpf_map_lookup_elem(&protected, &key) != NULL;
}

/* Whether this is the home agent of a mobile node's binding. */
static __always_inline int is_home_agent(__u32 index, const __be64 *address)
{
    struct dsmip_source_key key = {.index = index, .family = DSMIP_AF_INET6};

    __builtin_memcpy(key.address, address, 16);
    return bpf_map_lookup_elem(&sources, &key) != NULL;
}

/* ESP, or a fragment of it; between these two also the exchange of keys, echoes and prefix discovery, which are the
 * mobility protocol's own. Not ICMPv6 errors: they quote other packets. */
static __always_inline int may_be_seen(struct __sk_buff *skb, const struct inner *inner, __u32 offset)
{
    __u8 start[4] __attribute__((aligned(4)));

    if (inner->protocol == IPPROTO_ESP)
        return 1;
    if (bpf_skb_load_bytes(skb, offset + IPV6_HEADER, start, sizeof(start)))
        return 0;
    switch (inner->protocol) {
    case NEXT_FRAGMENT:
        return start[0] == IPPROTO_ESP;
    case IPPROTO_ICMPV6:
        return start[0] >= ICMPV6_INFORMATIONAL;
    case IPPROTO_UDP:
        return *(__be16 *)start == bpf_htons(IKE_PORT) || *(__be16 *)(start + 2) == bpf_htons(IKE_PORT);
    }
    return 0;
}

/* Whether a packet of binding `index` shows what should be under ESP. Its IP header is at `offset`; `outward` =
 * on its way into the tunnel. */
static __noinline int is_exposed(struct __sk_buff *skb, __u32 index, const struct inner *inner, __u32 offset,
                                 int outward)
{
    const struct dsmip_settings *config = get_settings();
    int home_agent = config && config->role == DSMIP_HOME_AGENT;
    const __be64 *ours, *theirs;

    if (!needs_esp(index, inner->version, home_agent == outward ? inner->source : inner->destination))
        return 0;
    if (inner->version != 6 || !may_be_seen(skb, inner, offset))
        return 1;
    ours = outward ? inner->source : inner->destination;
    theirs = outward ? inner->destination : inner->source;
    return !local_entry(DSMIP_AF_INET6, ours, 0) || (!home_agent && !is_home_agent(index, theirs));
}

/* Whether the ESP header at `offset` is that of payload coming in, and not of signalling. */
static __always_inline int is_payload(struct __sk_buff *skb, __u32 offset)
{
    __be32 spi;

    return !bpf_skb_load_bytes(skb, offset, &spi, sizeof(spi)) && bpf_map_lookup_elem(&payload_spis, &spi);
}

/* What fits into ESP that fits into `mtu`. */
static __always_inline __u32 inside_esp(__u32 mtu)
{
    return ((mtu - ESP_AROUND) & ~3) - ESP_TRAILER;
}

/* A packet has come in on the tunnel device. If it opens a TCP connection and was under ESP, its sender cannot know
 * what the tunnel takes: on the way in it could not be read. */
static __always_inline void clamp_decrypted(struct __sk_buff *skb, const struct dsmip_settings *config)
{
    int home_agent = config->role == DSMIP_HOME_AGENT;
    struct inner inner = {};
    struct dsmip_path *path;
    long index;

    if (read_inner(skb, 0, &inner) || !is_syn(skb, &inner, 0))
        return;
    index = binding_of(inner.version, home_agent ? inner.source : inner.destination);
    if (index == NO_BINDING ||
        !needs_esp(index, inner.version, home_agent ? inner.destination : inner.source))
        return;
    path = preferred_path(index);
    if (path && path->mtu >= DSMIP_LEAST_MTU)
        clamp_mss(skb, 0, inner.header_length, inside_esp(path->mtu));
}

#endif
