/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* TCP is told in its first packets how much fits into the tunnel, so that nothing depends on ICMP. */
#ifndef DSMIP_MSS_H
#define DSMIP_MSS_H

#include "packet.bpf.h"

#define TCP_HEADER 20
#define TCP_CHECKSUM 16
#define TCP_SYN 2
#define TCP_OPTION_END 0
#define TCP_OPTION_NOTHING 1
#define TCP_OPTION_MSS 2
#define MAX_TCP_OPTIONS 10

/* Lower the maximum segment size (RFC 9293 section 3.7.1) at `option` to `most`. */
static __always_inline void lower_mss(struct __sk_buff *skb, __u32 tcp, __u32 option, __u16 most)
{
    __be16 before, after = bpf_htons(most);
    int odd = (option - tcp) & 1;

    if (bpf_skb_load_bytes(skb, option + 2, &before, sizeof(before)) || bpf_ntohs(before) <= most)
        return;
    /* The two calls undo each other in the sum over the whole packet, and a checksum that is still to be
     * computed is left alone. Across two words of the sum, octets count in the other half of a word. */
    if (bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM, odd ? __builtin_bswap16(before) : before,
                            odd ? __builtin_bswap16(after) : after, sizeof(after)))
        return;
    bpf_skb_store_bytes(skb, option + 2, &after, sizeof(after), 0);
}

/* Whether a packet whose IP header is at `offset` opens a TCP connection. */
static __always_inline int is_syn(struct __sk_buff *skb, const struct inner *inner, __u32 offset)
{
    __be32 word; /* data offset, flags, window */

    if (inner->protocol != IPPROTO_TCP || inner->fragment)
        return 0;
    return !read_word(skb, offset + inner->header_length + 12, &word) && ((__u8 *)&word)[1] & TCP_SYN;
}

/* Have the two ends of a TCP connection send no more in a segment than fits into `mtu`; 0 = any. Called for
 * SYN packets, whose IP header is at `offset`. Global, to be verified once. */
__noinline int clamp_mss(struct __sk_buff *skb, __u32 offset, __u32 header_length, __u32 mtu)
{
    __u32 tcp = offset + header_length, position = tcp + TCP_HEADER, end;
    __u8 word, option[2];

    if (mtu < header_length + TCP_HEADER || bpf_skb_load_bytes(skb, tcp + 12, &word, 1))
        return 0;
    end = tcp + (word >> 4) * 4;
    for (int i = 0; i < MAX_TCP_OPTIONS; i++) {
        if (position + 2 > end || bpf_skb_load_bytes(skb, position, option, 2))
            return 0;
        if (option[0] == TCP_OPTION_END)
            return 0;
        if (option[0] == TCP_OPTION_NOTHING) {
            position++;
            continue;
        }
        if (option[0] == TCP_OPTION_MSS && option[1] == 4 && position + 4 <= end) {
            lower_mss(skb, tcp, position, mtu - header_length - TCP_HEADER);
            return 0;
        }
        position += option[1] < 2 ? 2 : option[1];
    }
    return 0;
}

#endif
