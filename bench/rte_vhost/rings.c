/* DPDK's rte_ring, for src/channel/dpdk.rs: packets that are copied into a ring and out of it, by one writer and one
 * reader. Either the packets are its elements, or its elements are pointers to mbufs that hold them.
 *
 * bench_ring_copy is called by the clock, bench_ring outside of it.
 */
#include "frames.h"
#include <rte_memcpy.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <stdio.h>
#include <string.h>

/* Packets of a burst, at most. */
enum { MOST = 32 };

static struct {
    struct rte_ring *ring;
    struct rte_mempool *pool;
    unsigned len;
} rings[2];
static unsigned made;

/* Makes a ring for `count` packets of `len` bytes, a multiple of 4, in place of the one before: of mbufs if `mbufs` is
 * not 0. 0, or a number below 0 that says what failed. */
int bench_ring(unsigned mbufs, unsigned len, unsigned count) {
    char name[32];
    mbufs = mbufs != 0;
    rte_ring_free(rings[mbufs].ring);
    rte_mempool_free(rings[mbufs].pool);
    rings[mbufs].ring = NULL;
    rings[mbufs].pool = NULL;
    rings[mbufs].len = len;
    snprintf(name, sizeof name, "copies-%u", made++);
    unsigned element = mbufs ? sizeof(void *) : len;
    rings[mbufs].ring =
        rte_ring_create_elem(name, element, count, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (!rings[mbufs].ring) return -1;
    if (!mbufs) return 0;
    rings[1].pool = rte_pktmbuf_pool_create(name, count, 256, 0, len + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    return rings[1].pool ? 0 : -2;
}

static unsigned through_elements(const uint8_t *from, uint8_t *to, unsigned len, unsigned count) {
    struct rte_ring *ring = rings[0].ring;
    count = rte_ring_sp_enqueue_bulk_elem(ring, from, len, count, NULL);
    return rte_ring_sc_dequeue_bulk_elem(ring, to, len, count, NULL);
}

static unsigned through_mbufs(const uint8_t *from, uint8_t *to, unsigned len, unsigned count) {
    struct rte_mbuf *in[MOST], *out[MOST];
    if (rte_pktmbuf_alloc_bulk(rings[1].pool, in, count)) return 0;
    for (unsigned at = 0; at < count; at++) {
        rte_memcpy(rte_pktmbuf_mtod(in[at], void *), from + at * len, len);
        rte_pktmbuf_data_len(in[at]) = rte_pktmbuf_pkt_len(in[at]) = len;
    }
    unsigned sent = rte_ring_sp_enqueue_bulk(rings[1].ring, (void **)in, count, NULL);
    if (sent < count) rte_pktmbuf_free_bulk(in + sent, count - sent);
    unsigned got = rte_ring_sc_dequeue_bulk(rings[1].ring, (void **)out, sent, NULL);
    for (unsigned at = 0; at < got; at++)
        rte_memcpy(to + at * len, rte_pktmbuf_mtod(out[at], void *), rte_pktmbuf_data_len(out[at]));
    rte_pktmbuf_free_bulk(out, got);
    return got;
}

/* Copies `count` packets of `len` bytes each from `from` into the ring, and out of it to `to`. Returns how many came
 * through: 0 if the ring was made for others. */
unsigned bench_ring_copy(unsigned mbufs, const uint8_t *from, uint8_t *to, unsigned len, unsigned count) {
    mbufs = mbufs != 0;
    if (!rings[mbufs].ring || rings[mbufs].len != len || count > MOST) return 0;
    return mbufs ? through_mbufs(from, to, len, count) : through_elements(from, to, len, count);
}
