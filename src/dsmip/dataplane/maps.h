/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Layout of everything the daemon and the eBPF program share. maps.py mirrors it; a test compares the two.
 * Addresses and ports are in network byte order; everything else in that of the host. */
#ifndef DSMIP_MAPS_H
#define DSMIP_MAPS_H

#include <linux/types.h>

/* Changes with every change below: pins of another layout are not adopted. */
#define DSMIP_LAYOUT 8

#define DSMIP_DEFAULT_CAPACITY 131072
#define DSMIP_LOCAL_CAPACITY 256
/* Programs of one run mark packets for the tunnel device's descriptor with this. */
#define DSMIP_UPCALL_MARK 0x44534d50
/* Within one run: copies of a packet on their way back to the tunnel device, to take another path. */
#define DSMIP_COPY_MARK 0x44534d43
/* The daemon has seen this one and leaves it to the program which way it goes. */
#define DSMIP_SEEN_MARK 0x44534d53

#define DSMIP_MAX_BIDS 8
#define DSMIP_MAX_FLOWS 64
#define DSMIP_MAX_COPIES 3
/* Sequence numbers remembered of each binding, to tell the second copy of a packet. */
#define DSMIP_WINDOW 512
/* Signalling of nobody bound gets the signalling rate divided by this. */
#define DSMIP_STRANGERS_SHARE 5

enum dsmip_role {
    DSMIP_HOME_AGENT = 0,
    DSMIP_MOBILE_NODE = 1,
};

enum dsmip_format {
    DSMIP_FORMAT_IPV6 = 0, /* IPv6-in-IPv6, IPv4-in-IPv6 */
    DSMIP_FORMAT_IPV4 = 1, /* IPv6-in-IPv4, IPv4-in-IPv4 */
    DSMIP_FORMAT_UDP4 = 2, /* in UDP in IPv4 */
    DSMIP_FORMAT_UDP6 = 3, /* in UDP in IPv6 */
    DSMIP_FORMAT_LINK = 4, /* as it is, out of the home link */
};

/* Family of dsmip_address.family: numbers of Linux. */
#define DSMIP_AF_INET 2
#define DSMIP_AF_INET6 10

#define DSMIP_PATH_RAW 1 /* the uplink has no Ethernet header */

/* Inner address ranges, each to a binding index; the lengths in use are listed, longest first, as length + 1
 * with 0 at the end. Bits beyond the length are zero. */
struct dsmip_network6 {
    __be64 address[2];
    __u32 prefix_length;
    __u32 reserved;
};

struct dsmip_network4 {
    __be32 address;
    __u32 prefix_length;
};

#define DSMIP_LENGTHS6 130
#define DSMIP_LENGTHS4 34

struct dsmip_path_key {
    __u32 index;
    __u16 bid; /* RFC 5648; 0 = the plain binding of RFC 6275 */
    __u16 reserved;
};

/* IPv4 addresses stand in the first 4 octets, the rest zero. */
struct dsmip_path {
    __u64 expires_ns; /* CLOCK_MONOTONIC; 0 = never */
    __u64 heard_ns;   /* the last probe; 0 = none yet */
    __u64 silent_after_ns; /* for how long that one vouches; 0 = never silent */
    __u8 local[16];
    __u8 remote[16];
    __u8 next_hop[16];
    __u32 interface; /* 0 = by the route to remote */
    __be16 local_port;
    __be16 remote_port;
    __u16 next_hop_family; /* 0 = none */
    __u8 format;
    __u8 flags;
    __u16 mtu; /* of inner packets; 0 = whatever the tunnel device takes */
    __u16 reserved;
};

/* Where packets of a binding without plain path go. */
struct dsmip_choice {
    __u64 generation; /* changes with the flow rules; 0 = there are none */
    __u16 bids[8];    /* the preference, best first; 0 = end */
    __u32 sequence;   /* of the last packet that was sent in copies */
    __u32 duplication; /* copies carry sequence numbers, and the second one is dropped */
};

/* What a rule looks at; a packet without such a field does not match. */
#define DSMIP_RULE_PORTS 1
#define DSMIP_RULE_SPI 2
/* Address ranges are compared only where there are some. */
#define DSMIP_RULE_SOURCE 4
#define DSMIP_RULE_DESTINATION 8
/* A range that ends before it starts. */
#define DSMIP_RULE_NEVER 16

/* Everything in the host's byte order, IPv4 addresses in the last 32 bits. Other ranges are the first value
 * and the distance to the last one: all values, where the selector has no such field. */
struct dsmip_rule {
    __u64 source_first[2];
    __u64 source_last[2];
    __u64 destination_first[2];
    __u64 destination_last[2];
    __u32 spi;
    __u32 spi_span;
    __u32 flow_label;
    __u32 flow_label_span;
    __u16 source_port;
    __u16 source_port_span;
    __u16 destination_port;
    __u16 destination_port_span;
    __u16 bids[8]; /* 0 = end */
    __u8 dscp;
    __u8 dscp_span;
    __u8 protocol;
    __u8 protocol_span;
    __u8 version; /* 4 or 6 */
    __u8 needs;
    __u16 reserved;
};

struct dsmip_rules {
    __u32 count;
    __u32 reserved;
    struct dsmip_rule rule[64];
};

/* Sequence numbers seen, each in its place by its last bits. */
struct dsmip_window {
    __u32 sequence[512];
};

/* Correspondents whose packets to and from a binding have to be under ESP: a longest-prefix trie over index and
 * address, IPv4 addresses mapped into IPv6. Bits beyond the length are zero. */
struct dsmip_protected {
    __u32 prefix_length; /* the 32 bits of the index included */
    __u32 index;
    __be32 address[4];
};

struct dsmip_source_key {
    __u32 index;
    __be16 port; /* 0 = protocols 41 and 4 */
    __u16 family;
    __u8 address[16];
};

struct dsmip_source {
    __u64 until_ns; /* CLOCK_MONOTONIC; 0 = no end */
    __u16 bid;
    __u16 reserved[3];
};

struct dsmip_traffic {
    __u64 sent_packets;
    __u64 sent_bytes;
    __u64 received_packets;
    __u64 received_bytes;
};

/* Key of the set of own addresses; the value is the BID of the path that has it, 0 = none. Every second NAT hands
 * out 192.168.1.2, so that a mobile node may have the same one on two interfaces. */
struct dsmip_local {
    __u32 family;
    __u32 interface; /* 0 = whichever the packet comes in on */
    __u8 address[16];
};

/* The one entry of the settings array. */
struct dsmip_settings {
    __u32 layout;
    __u32 role;
    __u32 device;    /* ifindex of the tunnel device */
    __u32 home_link; /* ifindex; 0 = a virtual home network */
    __be16 udp_port; /* the own port of signalling and data in UDP */
    __u16 protection; /* some binding's payload has to be under ESP */
    __u32 generation; /* changes whenever an address changes hands; what was found before is not believed */
    __u32 signalling_rate; /* upcalls a second on each CPU, of bindings from each of the two places */
    __u32 miss_rate;
};

/* Reasons of the drop counters, in the order of drop_reasons in maps.py. */
enum dsmip_drop {
    DSMIP_DROP_NO_BINDING,       /* to a home address nobody is registered for */
    DSMIP_DROP_NO_PATH,          /* bound, but nowhere to send to */
    DSMIP_DROP_EXPIRED,          /* the binding's lifetime has passed */
    DSMIP_DROP_INNER_ADDRESS,    /* tunnelled packet whose inner address belongs to no binding */
    DSMIP_DROP_OUTER_SOURCE,     /* tunnelled packet from an address that is not the care-of address */
    DSMIP_DROP_MALFORMED,        /* tunnelled packet with a broken inner header */
    DSMIP_DROP_ECN,              /* congestion marked on a packet that cannot carry the mark (RFC 6040) */
    DSMIP_DROP_UPCALL_RATE,      /* signalling beyond the rate limit */
    DSMIP_DROP_MISS_RATE,        /* packets without a binding beyond the rate limit */
    DSMIP_DROP_FAILED,           /* the kernel refused a change to the packet */
    DSMIP_DROP_DUPLICATES,       /* the second copy of a packet that came over two paths */
    DSMIP_DROP_TOO_BIG,          /* more than the path takes; the daemon tells the sender */
    DSMIP_DROP_NOT_PROTECTED,    /* in clear what has to be under ESP */
    DSMIP_DROP_REASONS,
};

/* Payload of the echo requests with which a mobile node probes its paths. The home agent's program answers
 * them at once; both ends note that the path is alive. */
#define DSMIP_PROBE_MAGIC "dsmP"
#define DSMIP_PROBE_VERSION 1
/* Flag: padded, to ask whether its size passes. Says nothing of how long the path is alive. */
#define DSMIP_PROBE_SIZE 1
/* A smaller MTU than any IPv4 host has to take (RFC 791) is no MTU. */
#define DSMIP_LEAST_MTU 576

struct dsmip_probe {
    __u8 magic[4];
    __u8 version;
    __u8 flags;
    __be16 bid;
    __be32 hold_ms; /* without another probe for so long, the path counts as silent; 0 = never */
    __be32 sequence;
    __be64 sent_ns; /* the mobile node's CLOCK_MONOTONIC */
    __be16 mtu;     /* of inner packets on this path; 0 = not known */
    __u16 reserved[3];
};

/* In front of a packet that travels in copies, behind UDP: neither IPv4 nor IPv6 by its first four bits. */
#define DSMIP_SEQUENCED 1

struct dsmip_sequenced {
    __u8 type;
    __u8 flags;
    __u16 reserved;
    __be32 sequence;
};

enum dsmip_bucket_kind {
    DSMIP_BUCKET_EXPECTED,  /* of a binding, from where it is registered */
    DSMIP_BUCKET_MOVED,     /* of a binding, from elsewhere */
    DSMIP_BUCKET_STRANGERS, /* of nobody bound */
    DSMIP_BUCKET_MISS,
    DSMIP_BUCKETS,
};

/* Token bucket, one per CPU and kind. */
struct dsmip_bucket {
    __u64 filled_ns;
    __u64 tokens; /* millionths of a packet */
};

#endif
