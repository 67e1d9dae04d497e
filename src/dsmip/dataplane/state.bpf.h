/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The maps, and the small things every part does with them: settings, drop counters, token buckets. */
#ifndef DSMIP_STATE_H
#define DSMIP_STATE_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

/* None of our business: the next program or filter, then the kernel. */
#define PASS_ON TC_ACT_UNSPEC

/* Memory of hash maps follows what is in them, not what could be. */
#define DSMIP_HASH(name_, key_, value_, capacity_)                                                           \
    struct {                                                                                                 \
        __uint(type, BPF_MAP_TYPE_HASH);                                                                     \
        __uint(map_flags, BPF_F_NO_PREALLOC);                                                                \
        __uint(max_entries, capacity_);                                                                      \
        __type(key, key_);                                                                                   \
        __type(value, value_);                                                                               \
    } name_ SEC(".maps")

#define DSMIP_ARRAY(name_, type_, value_, entries_)                                                          \
    struct {                                                                                                 \
        __uint(type, type_);                                                                                 \
        __uint(max_entries, entries_);                                                                       \
        __type(key, __u32);                                                                                  \
        __type(value, value_);                                                                               \
    } name_ SEC(".maps")

DSMIP_HASH(networks6, struct dsmip_network6, __u32, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(networks4, struct dsmip_network4, __u32, DSMIP_DEFAULT_CAPACITY);
DSMIP_ARRAY(lengths6, BPF_MAP_TYPE_ARRAY, __u32, DSMIP_LENGTHS6);
DSMIP_ARRAY(lengths4, BPF_MAP_TYPE_ARRAY, __u32, DSMIP_LENGTHS4);
DSMIP_HASH(paths, struct dsmip_path_key, struct dsmip_path, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(choices, __u32, struct dsmip_choice, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(rules, __u32, struct dsmip_rules, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(windows, __u32, struct dsmip_window, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(payload_spis, __be32, __u32, DSMIP_DEFAULT_CAPACITY); /* of payload that comes in: the binding */
DSMIP_HASH(sources, struct dsmip_source_key, struct dsmip_source, DSMIP_DEFAULT_CAPACITY);
/* Of plain bindings by index, as most are: a third of the room of a hash table's entry, and found in no time. */
DSMIP_ARRAY(plain_traffic, BPF_MAP_TYPE_ARRAY, struct dsmip_traffic, DSMIP_DEFAULT_CAPACITY);
/* Of paths with a BID, and of bindings whose index is beyond that. */
DSMIP_HASH(traffic, struct dsmip_path_key, struct dsmip_traffic, DSMIP_DEFAULT_CAPACITY);
DSMIP_HASH(local, struct dsmip_local, __u16, DSMIP_LOCAL_CAPACITY);
DSMIP_ARRAY(settings, BPF_MAP_TYPE_ARRAY, struct dsmip_settings, 1);
DSMIP_ARRAY(drops, BPF_MAP_TYPE_PERCPU_ARRAY, __u64, DSMIP_DROP_REASONS);
DSMIP_ARRAY(buckets, BPF_MAP_TYPE_PERCPU_ARRAY, struct dsmip_bucket, DSMIP_BUCKETS);

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, DSMIP_DEFAULT_CAPACITY);
    __type(key, struct dsmip_protected);
    __type(value, __u32);
} protected SEC(".maps");

#define NSEC_PER_SEC 1000000000ULL
#define MICRO 1000000ULL

static __always_inline struct dsmip_settings *get_settings(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline int drop(__u32 reason)
{
    __u64 *count = bpf_map_lookup_elem(&drops, &reason);

    if (count)
        *count += 1; /* per CPU */
    return TC_ACT_SHOT;
}

/* Take one packet's worth out of a bucket that fills at `rate` a second and holds a tenth of a second. */
static __always_inline int take_token(__u32 kind, __u32 rate)
{
    struct dsmip_bucket *bucket = bpf_map_lookup_elem(&buckets, &kind);
    __u64 now = bpf_ktime_get_ns(), elapsed, limit;

    if (!bucket)
        return 0;
    elapsed = now - bucket->filled_ns;
    if (elapsed > NSEC_PER_SEC)
        elapsed = NSEC_PER_SEC;
    limit = rate * MICRO / 10 + 16 * MICRO;
    bucket->tokens += elapsed * rate / 1000;
    if (bucket->tokens > limit)
        bucket->tokens = limit;
    bucket->filled_ns = now;
    if (bucket->tokens < MICRO)
        return 0;
    bucket->tokens -= MICRO;
    return 1;
}

/* The clock of the timer interrupt: some milliseconds late, and several times as fast to read as the exact one.
 * Good enough for lifetimes, which are counted in seconds, and for silence. */
static __always_inline __u64 roughly_now(void)
{
    return bpf_ktime_get_coarse_ns();
}

static __always_inline int has_passed(__u64 deadline_ns)
{
    return deadline_ns && roughly_now() > deadline_ns;
}

/* Counters of a path; those of the binding as a whole when the path has just gone. */
static __always_inline struct dsmip_traffic *traffic_of(__u32 index, __u16 bid)
{
    struct dsmip_path_key key = {.index = index, .bid = bid};
    struct dsmip_traffic *counters;

    if (bid) {
        counters = bpf_map_lookup_elem(&traffic, &key);
        if (counters)
            return counters;
        key.bid = 0;
    }
    counters = bpf_map_lookup_elem(&plain_traffic, &index);
    return counters ? counters : bpf_map_lookup_elem(&traffic, &key);
}

#endif
