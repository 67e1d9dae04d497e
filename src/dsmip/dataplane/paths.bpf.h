/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Which of a binding's paths a packet takes. */
#ifndef DSMIP_PATHS_H
#define DSMIP_PATHS_H

#include "flows.bpf.h"

static __always_inline struct dsmip_path *path_of(__u32 index, __u16 bid)
{
    struct dsmip_path_key key = {.index = index, .bid = bid};

    return bpf_map_lookup_elem(&paths, &key);
}

static __always_inline int is_usable(const struct dsmip_path *path)
{
    return !has_passed(path->expires_ns) && !has_passed(path->silent_after_ns);
}

/* Leave those of `bids` that have a usable path, `most` of them at most; their number. If there are any, those
 * that are merely silent come after them: a copy more does no harm, and a path that loses a probe now and then
 * may have been called silent too soon. */
__noinline int keep_usable(__u32 index, struct bids *bids, __u32 most)
{
    struct bids silent = {};
    __u32 kept = 0, others = 0;

    if (!bids)
        return 0;
    for (__u32 number = 0; number < DSMIP_MAX_BIDS; number++) {
        __u16 bid = bids->bid[number];
        struct dsmip_path *path;

        bids->bid[number] = 0;
        path = bid ? path_of(index, bid) : NULL;
        if (!path || has_passed(path->expires_ns))
            continue;
        if (has_passed(path->silent_after_ns))
            silent.bid[others++ & (DSMIP_MAX_BIDS - 1)] = bid;
        else if (kept < most)
            bids->bid[kept++ & (DSMIP_MAX_BIDS - 1)] = bid;
    }
    if (!kept)
        return 0;
    for (__u32 number = 0; number < DSMIP_MAX_BIDS; number++) {
        if (number >= others || kept >= most)
            break;
        bids->bid[kept++ & (DSMIP_MAX_BIDS - 1)] = silent.bid[number];
    }
    return kept;
}

/* The first matching rule that has a usable path (RFC 6089 section 5.3.6: others are inactive). Leaves its
 * BIDs as keep_usable does, and returns their number. For when paths are down: what is cached is the first rule of all. */
__noinline int find_active_rule(struct flow *flow, struct bids *bids)
{
    if (!flow || !bids)
        return 0;
    for (int i = 0; i < DSMIP_MAX_FLOWS; i++) {
        __u32 number = find_rule(flow), usable;

        if (number >= DSMIP_MAX_FLOWS)
            break;
        bids_of_rule(flow->index, number, bids);
        usable = keep_usable(flow->index, bids, DSMIP_MAX_COPIES);
        if (usable)
            return usable;
        flow->from = number + 1;
    }
    return 0;
}

/* When no path of the preference is usable: one that is silent is better than none. Returns a BID, 0 and the
 * reason of a drop otherwise. */
__noinline int find_silent(__u32 index, __u32 *reason)
{
    struct dsmip_choice *choice = bpf_map_lookup_elem(&choices, &index);

    if (!choice || !reason)
        return 0;
    for (int i = 0; i < DSMIP_MAX_BIDS; i++) {
        __u16 bid = choice->bids[i];
        struct dsmip_path *path = bid ? path_of(index, bid) : NULL;

        if (!path)
            continue;
        if (!has_passed(path->expires_ns))
            return bid;
        *reason = DSMIP_DROP_EXPIRED;
    }
    return 0;
}

/* The path that most packets of a binding take, usable or not. */
static __always_inline struct dsmip_path *preferred_path(__u32 index)
{
    struct dsmip_path *path = path_of(index, 0);
    struct dsmip_choice *choice = path ? NULL : bpf_map_lookup_elem(&choices, &index);

    return choice ? path_of(index, choice->bids[0]) : path;
}

static __always_inline struct dsmip_path *usable_path(__u32 index, __u16 bid)
{
    struct dsmip_path *path = path_of(index, bid);

    return path && is_usable(path) ? path : NULL;
}

/* The path that a packet of a binding without plain path takes, with its BID and those of its copies in `bids`.
 * NULL and the reason if it is dropped. */
static __always_inline struct dsmip_path *choose(struct __sk_buff *skb, __u32 index,
                                                 const struct dsmip_choice *choice,
                                                 const struct inner *inner, struct bids *bids, __u32 *reason)
{
    struct dsmip_path *path;

    if (choice->generation) {
        struct flow flow = {.index = index, .generation = choice->generation};

        classify(skb, inner, &flow, bids);
        if (bids->bid[0]) {
            path = bids->bid[1] ? NULL : usable_path(index, bids->bid[0]);
            if (path)
                return path;
            if (keep_usable(index, bids, DSMIP_MAX_COPIES) || find_active_rule(&flow, bids))
                return path_of(index, bids->bid[0]);
        }
    }
    __builtin_memset(bids, 0, sizeof(*bids));
    bids->bid[0] = choice->bids[0];
    path = usable_path(index, choice->bids[0]);
    if (path)
        return path;
    __builtin_memcpy(bids, choice->bids, sizeof(*bids));
    if (!keep_usable(index, bids, 1))
        bids->bid[0] = find_silent(index, reason);
    return bids->bid[0] ? path_of(index, bids->bid[0]) : NULL;
}

#endif
