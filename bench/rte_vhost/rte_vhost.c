/* DPDK's vhost library as a device side, for src/rte_vhost.rs: what is called here is rte_vhost_enqueue_burst and what it needs.
 *
 * A library, as DPDK's headers are C. One user at a time; every function but bench_enqueue is called outside the clock.
 */
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Frames; and how many of them the library takes at once. */
enum { FRAMES = 256, MOST = 32 };

static struct rte_mbuf *frames[FRAMES];
static unsigned room;
static atomic_int ready = -1;

static int new_device(int vid) { atomic_store(&ready, vid); return 0; }
static void destroy_device(int vid) { (void)vid; }
static const struct rte_vhost_device_ops OPS = { .new_device = new_device, .destroy_device = destroy_device };

/* Listens at `path`. 0, or what failed: 1 the environment, 2 the socket. */
int bench_start(const char *path) {
    char *eal[] = { "ring-bench", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "64", "-l", "0", "--log-level", "error" };
    if (rte_eal_init(sizeof eal / sizeof *eal, eal) < 0) return 1;
    int failed = rte_vhost_driver_register(path, 0) || rte_vhost_driver_callback_register(path, &OPS) || rte_vhost_driver_start(path);
    return failed ? 2 : 0;
}

/* The device whose front-end has just set up its queues; -1 if none does so within `ms` milliseconds. */
int bench_device(unsigned ms) {
    int vid = atomic_exchange(&ready, -1);
    for (; vid < 0 && ms > 0; ms--) {
        usleep(1000);
        vid = atomic_exchange(&ready, -1);
    }
    return vid;
}

/* Frame `index` with `len` bytes, in a buffer of `wanted` bytes: where its bytes are. All frames have buffers of one length. They are
 * allocated once; an enqueue leaves them to its caller. */
void *bench_frame(unsigned index, unsigned len, unsigned wanted) {
    if (index >= FRAMES || len > wanted) return NULL;
    if (room != wanted) {
        char name[32];
        snprintf(name, sizeof name, "frames-%u", wanted);
        struct rte_mempool *pool = rte_pktmbuf_pool_create(name, FRAMES, 0, 0, wanted + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
        if (!pool || rte_pktmbuf_alloc_bulk(pool, frames, FRAMES) != 0) return NULL;
        room = wanted;
    }
    rte_pktmbuf_data_len(frames[index]) = len;
    rte_pktmbuf_pkt_len(frames[index]) = len;
    return rte_pktmbuf_mtod(frames[index], void *);
}

/* Frames 0 to `count` into queue 0 of device `vid`; how many were taken. */
unsigned bench_enqueue(int vid, unsigned count) {
    unsigned done = 0;
    while (done < count) {
        unsigned left = count - done, most = left < MOST ? left : MOST;
        unsigned taken = rte_vhost_enqueue_burst(vid, 0, frames + done, most);
        done += taken;
        if (taken < most) break;
    }
    return done;
}
