/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Path supervision: the home agent answers a mobile node's probes at once, and each end notes what it heard.
 *
 * A probe is an ICMPv6 echo request from home address to home agent that has passed every check a data packet
 * has to. To a home agent without this program it is an echo request like any other. */
#ifndef DSMIP_PROBES_H
#define DSMIP_PROBES_H

#include "paths.bpf.h"

#define ECHO_REQUEST 128
#define ECHO_REPLY 129
#define ICMPV6_HEADER 8
#define FRESH_HOP_LIMIT 64
#define NSEC_PER_MSEC 1000000ULL
/* An answer older than this is none of ours: the time in it is from our own clock, so a stranger's echo reply
 * is told by it. */
#define OLDEST_ANSWER_NS (10 * NSEC_PER_SEC)

/* ICMPv6 header and payload of a probe. */
struct probe {
    __u8 type;
    __u8 code;
    __be16 checksum;
    __be32 identifier_and_number;
    struct dsmip_probe payload;
};

/* Read the probe behind the inner IPv6 header at `offset`; -1 when it is something else. */
static __always_inline int read_probe(struct __sk_buff *skb, __u32 offset, __u8 type, struct probe *probe)
{
    if (bpf_skb_load_bytes(skb, offset + IPV6_HEADER, probe, sizeof(*probe)))
        return -1;
    if (probe->type != type || probe->code)
        return -1;
    if (*(__u32 *)probe->payload.magic != *(const __u32 *)DSMIP_PROBE_MAGIC)
        return -1;
    return probe->payload.version == DSMIP_PROBE_VERSION ? 0 : -1;
}

static __always_inline void note(struct dsmip_path *path, const struct probe *probe)
{
    __u64 hold_ns = bpf_ntohl(probe->payload.hold_ms) * NSEC_PER_MSEC, now = bpf_ktime_get_ns();

    if (probe->payload.flags & DSMIP_PROBE_SIZE)
        return;
    path->heard_ns = now;
    path->silent_after_ns = hold_ns ? now + hold_ns : 0;
}

/* Only the mobile node knows what its uplink takes. */
static __always_inline void heed_mtu(struct dsmip_path *path, const struct probe *probe)
{
    __u16 mtu = bpf_ntohs(probe->payload.mtu);

    if (mtu >= DSMIP_LEAST_MTU)
        path->mtu = mtu;
}

/* Exchange two neighbouring fields of `size` octets each. */
static __always_inline long swap(struct __sk_buff *skb, __u32 offset, __u32 size)
{
    __u8 pair[32], swapped[32];

    if (bpf_skb_load_bytes(skb, offset, pair, 2 * size))
        return -1;
    __builtin_memcpy(swapped, pair + size, size);
    __builtin_memcpy(swapped + size, pair, size);
    return bpf_skb_store_bytes(skb, offset, swapped, 2 * size, BPF_F_RECOMPUTE_CSUM);
}

/* One's complement arithmetic on a checksum field when a 16-bit word it covers changes (RFC 1624). */
static __always_inline __be16 adjusted(__be16 checksum, __be16 before, __be16 after)
{
    __u32 sum = (__u16)~checksum + (__u16)~before + after;

    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* The outer IPv4 header at `link`, turned round. */
static __always_inline long turn_ipv4(struct __sk_buff *skb, __u32 link)
{
    __be16 words[2]; /* time to live and protocol; checksum */
    __be16 before;

    if (bpf_skb_load_bytes(skb, link + 8, words, sizeof(words)))
        return -1;
    before = words[0];
    *(__u8 *)words = FRESH_HOP_LIMIT;
    words[1] = adjusted(words[1], before, words[0]);
    if (bpf_skb_store_bytes(skb, link + 8, words, sizeof(words), BPF_F_RECOMPUTE_CSUM))
        return -1;
    return swap(skb, link + 12, 4);
}

static __always_inline long turn_ipv6(struct __sk_buff *skb, __u32 link)
{
    __u8 hop_limit = FRESH_HOP_LIMIT;

    if (bpf_skb_store_bytes(skb, link + 7, &hop_limit, 1, BPF_F_RECOMPUTE_CSUM))
        return -1;
    return swap(skb, link + 8, 16);
}

/* Send the probe back where it came from, as an echo reply. The sum of what an outer UDP checksum covers stays
 * the same: addresses and ports change places, and ICMPv6's checksum makes up for its type. */
static __always_inline int reflect(struct __sk_buff *skb, __u32 link, __u32 offset, __u8 outer_version,
                                   int in_udp, const struct probe *probe)
{
    __be16 words[2] = {bpf_htons(ECHO_REPLY << 8)};

    words[1] = adjusted(probe->checksum, bpf_htons(ECHO_REQUEST << 8), words[0]);
    if (bpf_skb_store_bytes(skb, offset + IPV6_HEADER, words, sizeof(words), BPF_F_RECOMPUTE_CSUM) ||
        swap(skb, offset + 8, 16))
        return drop(DSMIP_DROP_FAILED);
    if (outer_version == 6 ? turn_ipv6(skb, link) : turn_ipv4(skb, link))
        return drop(DSMIP_DROP_FAILED);
    if (in_udp && swap(skb, offset - sizeof(struct udphdr), 2))
        return drop(DSMIP_DROP_FAILED);
    if (link && swap(skb, 0, ETH_ALEN))
        return drop(DSMIP_DROP_FAILED);
    return bpf_redirect(skb->ifindex, 0);
}

/* An answer to one of our own probes: note it, if it came the way that the probe went. */
static __always_inline void hear_answer(struct __sk_buff *skb, __u32 link, __u32 index, __u8 outer_version,
                                        const struct probe *probe)
{
    struct dsmip_path *path = path_of(index, bpf_ntohs(probe->payload.bid));
    __u64 age = bpf_ktime_get_ns() - bpf_be64_to_cpu(probe->payload.sent_ns);
    __u64 destination[2] = {}, local[2];

    if (!path || age > OLDEST_ANSWER_NS)
        return;
    if (path->interface && path->interface != skb->ifindex)
        return;
    if (outer_version == 6 ? bpf_skb_load_bytes(skb, link + 24, destination, 16)
                           : bpf_skb_load_bytes(skb, link + 16, destination, 4))
        return;
    __builtin_memcpy(local, path->local, 16);
    if (destination[0] == local[0] && destination[1] == local[1])
        note(path, probe);
}

#endif
