/* DPDK's table of flows, for src/switch/hash.rs: rte_hash_lookup_bulk_data. And around it a router in the manner of
 * DPDK's example l3fwd with exact matches ("em"): it checks a header of IPv4, looks 16 bytes of it up, and writes two
 * MAC addresses, time to live and checksum. It counts nothing, and knows no other frames.
 */
#include "frames.h"
#include <immintrin.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <string.h>

/* Bytes of a key, how many keys are looked up at once, and ports that a frame may leave by. */
enum { KEY = 16, KEYS = 32, PORTS = 4 };

static struct rte_hash *hash;
static uint8_t keys[KEYS][KEY] __rte_cache_aligned;
static const void *places[KEYS];
static void *found[KEYS];
static unsigned wanted;

/* The addresses that a frame gets which leaves by a port. */
static const struct {
    struct rte_ether_addr to, from;
} HOPS[PORTS] = { [0 ... PORTS - 1] = { { { 2, 2, 2, 2, 2, 2 } }, { { 4, 4, 4, 4, 4, 4 } } } };

/* Makes an empty table with room for `entries` keys, in place of the one before. 0, or -1 if there is no memory. */
int bench_hash(unsigned entries) {
    struct rte_hash_parameters shape = { .name = "flows", .entries = entries, .key_len = KEY,
                                         .hash_func = rte_hash_crc, .socket_id = SOCKET_ID_ANY };
    rte_hash_free(hash);
    hash = rte_hash_create(&shape);
    wanted = 0;
    for (unsigned at = 0; at < KEYS; at++) places[at] = keys[at];
    return hash ? 0 : -1;
}

/* Adds a key of `KEY` bytes with a value. 0, or what rte_hash_add_key_data says. */
int bench_hash_add(const void *key, unsigned value) {
    return hash ? rte_hash_add_key_data(hash, key, (void *)(uintptr_t)value) : -1;
}

/* Copies the keys that the next calls look up: `count` of them, or `KEYS` if there are more. */
void bench_hash_keys(const void *all, unsigned count) {
    wanted = count < KEYS ? count : KEYS;
    memcpy(keys, all, wanted * KEY);
}

/* Looks the keys up. Returns a bit for each that is in the table. */
uint64_t bench_hash_look_up(void) {
    uint64_t hits = 0;
    if (hash && wanted) rte_hash_lookup_bulk_data(hash, places, wanted, &hits, found);
    return hits;
}

/* The value of key `index`, below `KEYS`, whose bit was set. */
unsigned bench_hash_value(unsigned index) { return (unsigned)(uintptr_t)found[index % KEYS]; }

/* The header of a frame of TCP or UDP over IPv4 without options that a router may send on; NULL of another frame. */
static struct rte_ipv4_hdr *header_of(struct rte_mbuf *frame) {
    struct rte_ether_hdr *link = rte_pktmbuf_mtod(frame, struct rte_ether_hdr *);
    struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)(link + 1);
    unsigned len = rte_pktmbuf_data_len(frame), least = sizeof *header + sizeof(struct rte_udp_hdr);
    if (len < sizeof *link + least || link->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4)) return NULL;
    unsigned total = rte_be_to_cpu_16(header->total_length);
    if (header->version_ihl != 0x45 || total < least || total > len - sizeof *link) return NULL;
    return header->time_to_live > 1 ? header : NULL;
}

/* Writes what a router writes on the way to `port`. See: RFC 1624, 3, for the checksum. */
static void send_on(struct rte_mbuf *frame, struct rte_ipv4_hdr *header, unsigned port) {
    struct rte_ether_hdr *link = rte_pktmbuf_mtod(frame, struct rte_ether_hdr *);
    uint32_t sum = header->hdr_checksum + RTE_BE16(0x100);
    link->dst_addr = HOPS[port % PORTS].to;
    link->src_addr = HOPS[port % PORTS].from;
    header->time_to_live--;
    header->hdr_checksum = sum + (sum >= 0xffff);
}

/* Routes the first `count` frames that bench_frame made, or `KEYS` if there are more. Returns a bit for each that a
 * port was found for. */
uint64_t bench_route(unsigned count) {
    /* From the time to live on: protocol, addresses and ports. Time to live and checksum are left out. */
    const __m128i mask = _mm_set_epi32(-1, -1, -1, 0xff00);
    struct rte_ipv4_hdr *headers[KEYS];
    uint64_t good = 0, hits = 0;
    if (count > KEYS) count = KEYS;
    for (unsigned at = 0; at < count; at++) {
        headers[at] = header_of(bench_frames[at]);
        __m128i key = _mm_setzero_si128();
        if (headers[at]) key = _mm_and_si128(_mm_loadu_si128((const __m128i *)&headers[at]->time_to_live), mask);
        good |= (uint64_t)(headers[at] != NULL) << at;
        _mm_store_si128((__m128i *)keys[at], key);
    }
    wanted = count;
    if (!hash || !count || rte_hash_lookup_bulk_data(hash, places, count, &hits, found) < 0) return 0;
    good &= hits;
    for (unsigned at = 0; at < count; at++)
        if (good >> at & 1) send_on(bench_frames[at], headers[at], bench_hash_value(at));
    return good;
}
