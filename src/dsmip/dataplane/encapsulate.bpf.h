/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Into the tunnel: over which path, in how many copies. */
#ifndef DSMIP_ENCAPSULATE_H
#define DSMIP_ENCAPSULATE_H

#include "mss.bpf.h"
#include "outer.bpf.h"
#include "protection.bpf.h"
#include "route.bpf.h"

#define LOOPBACK_IFINDEX 1
#define IPV6_MINIMUM_MTU 1280

/* What a copy brings along in skb->cb, beside DSMIP_COPY_MARK, on its way back to the tunnel device. */
#define COPY_BID 0
#define COPY_SEQUENCE 1
#define COPY_SEQUENCED 2
#define COPY_OLD_MARK 3
#define COPY_SIGN 4

/* From one mobile node to another with segmentation offload: the packet bears the marks of the tunnel it came
 * out of (skb->encapsulation, gso_type), with which nobody could cut it into segments behind another outer
 * header. The loopback device offloads nothing for such packets: they are cut there and come back one by one. */
static __always_inline int segment_first(struct __sk_buff *skb, const struct inner *inner)
{
    struct ethhdr ethernet = {};

    ethernet.h_proto = inner->version == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (bpf_skb_change_head(skb, ETH_HLEN, 0))
        return drop(DSMIP_DROP_FAILED);
    return send_frame(skb, LOOPBACK_IFINDEX, &ethernet);
}

/* A packet with a sequence number travels in UDP whatever the path says. */
static __always_inline void in_sequence(struct manner *manner, const struct dsmip_settings *config,
                                        __u32 sequence)
{
    if (manner->format == DSMIP_FORMAT_LINK)
        return;
    if (manner->format != DSMIP_FORMAT_UDP4 && manner->format != DSMIP_FORMAT_UDP6) {
        manner->format = manner->format == DSMIP_FORMAT_IPV6 ? DSMIP_FORMAT_UDP6 : DSMIP_FORMAT_UDP4;
        manner->local_port = manner->remote_port = config->udp_port;
    }
    manner->sequenced = 1;
    manner->sequence = sequence;
}

/* Whether one packet on the wire would have more octets than the path takes. IPv6 packets up to the minimum MTU
 * are sent all the same: nobody can be asked to send less (RFC 8200 section 5). */
static __always_inline int is_too_big(struct __sk_buff *skb, const struct inner *inner, __u32 mtu)
{
    __u32 size = inner->length;

    if (mtu < DSMIP_LEAST_MTU || skb->len <= mtu)
        return 0;
    if (skb->gso_size)
        size = inner->header_length + transport_length(skb, 0, inner) + skb->gso_size;
    return size > mtu && (inner->version == 4 || size > IPV6_MINIMUM_MTU);
}

/* To the daemon, which tells the sender. */
static __always_inline int too_big(const struct dsmip_settings *config)
{
    drop(DSMIP_DROP_TOO_BIG);
    return take_token(DSMIP_BUCKET_MISS, config->miss_rate) ? PASS_ON : TC_ACT_SHOT;
}

static __always_inline int send_over(struct __sk_buff *skb, const struct dsmip_path *path, __u32 index,
                                     __u16 bid, const struct manner *manner, const struct inner *inner)
{
    __u64 packets = packets_in(skb, 0, inner), bytes = skb->len;
    int raw = path->interface && path->flags & DSMIP_PATH_RAW;
    struct dsmip_traffic *counters;
    long outer_version;

    if (path->format == DSMIP_FORMAT_LINK)
        return plain_to_neighbour(skb, path->interface, path->next_hop_family, path->next_hop);
    if (path->mtu && is_syn(skb, inner, 0))
        clamp_mss(skb, 0, inner->header_length, path->mtu);
    outer_version = write_outer(skb, path, manner, inner, raw ? 0 : ETH_HLEN);
    if (outer_version == -EALREADY)
        return segment_first(skb, inner);
    if (outer_version < 0)
        return drop(DSMIP_DROP_FAILED);
    counters = traffic_of(index, bid);
    if (counters) {
        __sync_fetch_and_add(&counters->sent_packets, packets);
        __sync_fetch_and_add(&counters->sent_bytes, bytes);
    }
    if (!path->interface)
        return by_route(skb, path, outer_version);
    if (raw)
        return bpf_redirect(path->interface, 0);
    return to_neighbour(path->interface, path->next_hop_family, path->next_hop);
}

/* Send a copy of the packet over each path but the first: they come through the tunnel device once more, with
 * the way in their control block. */
static __always_inline void send_copies(struct __sk_buff *skb, const struct dsmip_settings *config,
                                        const struct bids *bids, __u32 sequence, int sequenced)
{
    __u32 mark = skb->mark;

    skb->mark = DSMIP_COPY_MARK;
    skb->cb[COPY_SEQUENCE] = sequence;
    skb->cb[COPY_SEQUENCED] = sequenced;
    skb->cb[COPY_OLD_MARK] = mark;
    skb->cb[COPY_SIGN] = DSMIP_COPY_MARK;
    for (int number = 1; number < DSMIP_MAX_COPIES; number++) {
        if (!bids->bid[number])
            break;
        skb->cb[COPY_BID] = bids->bid[number];
        if (bpf_clone_redirect(skb, config->device, 0))
            drop(DSMIP_DROP_FAILED);
    }
    skb->mark = mark;
    skb->cb[COPY_SIGN] = 0;
}

/* The number that all copies of a packet carry; never 0, which is in places of the window never used. */
static __always_inline __u32 next_sequence(struct dsmip_choice *choice)
{
    __u32 sequence = __sync_fetch_and_add(&choice->sequence, 1) + 1;

    return sequence ? sequence : __sync_fetch_and_add(&choice->sequence, 1) + 1;
}

/* Send the packet over one path of binding `index`, or over several. */
static __always_inline int encapsulate(struct __sk_buff *skb, const struct dsmip_settings *config,
                                       __u32 index, const struct inner *inner)
{
    struct dsmip_path *path = path_of(index, 0);
    __u32 reason = DSMIP_DROP_NO_PATH, sequence = 0;
    int sequenced = 0;
    struct manner manner = {};
    struct bids bids = {};

    if (skb->mark == DSMIP_COPY_MARK && skb->cb[COPY_SIGN] == DSMIP_COPY_MARK) {
        bids.bid[0] = skb->cb[COPY_BID];
        sequence = skb->cb[COPY_SEQUENCE];
        sequenced = skb->cb[COPY_SEQUENCED];
        skb->mark = skb->cb[COPY_OLD_MARK];
        skb->cb[COPY_SIGN] = 0;
        path = path_of(index, bids.bid[0]);
    } else if (!path) {
        struct dsmip_choice *choice = bpf_map_lookup_elem(&choices, &index);

        if (!choice)
            return drop(DSMIP_DROP_NO_PATH);
        path = choose(skb, index, choice, inner, &bids, &reason);
        /* The segments of an offload packet would all bear the same number. */
        if (path && bids.bid[1] && !skb->gso_size) {
            sequenced = choice->duplication != 0;
            if (sequenced)
                sequence = next_sequence(choice);
            send_copies(skb, config, &bids, sequence, sequenced);
        }
    }
    if (!path)
        return drop(reason);
    if (config->protection && path->format != DSMIP_FORMAT_LINK &&
        is_exposed(skb, index, inner, 0, OUTWARD))
        return drop(DSMIP_DROP_NOT_PROTECTED);
    if (has_passed(path->expires_ns))
        return drop(DSMIP_DROP_EXPIRED);
    if (config->role == DSMIP_HOME_AGENT && is_too_big(skb, inner, path->mtu))
        return too_big(config);
    manner.format = path->format;
    manner.local_port = path->local_port;
    manner.remote_port = path->remote_port;
    if (sequenced)
        in_sequence(&manner, config, sequence);
    return send_over(skb, path, index, bids.bid[0], &manner, inner);
}

#endif
