/* DPDK's vhost library as a device side, for src/rte_vhost.rs: rte_vhost_enqueue_burst and what it needs. And DPDK's
 * virtio driver at the other end of such a device, for src/receive/dpdk.rs: rte_eth_rx_burst, rte_pktmbuf_free_bulk.
 * And links of its ports, for src/chain/dpdk.rs: rte_eth_tx_burst, rte_eth_rx_burst.
 *
 * This is a library, with flows.c and feeder.c, because DPDK's headers are C. src/dpdk.rs calls it, one thread at a
 * time, and sees to the bounds that are not checked here. All functions but bench_enqueue, bench_rx, bench_free,
 * bench_hash_look_up, bench_route and bench_links_carry are called outside the clock.
 */
#include "frames.h"
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many frames the library takes at once. */
enum { MOST = 32 };

struct rte_mbuf *bench_frames[FRAMES];
static unsigned room, pools;
/* What the driver took and was not freed. */
static struct rte_mbuf *taken[FRAMES];
static atomic_int ready = -1;

/* A device that is polled wants no notifications: a driver that sends one pays for a system call. */
static int new_device(int vid) {
    for (uint16_t queue = 0; queue < rte_vhost_get_vring_num(vid); queue++)
        rte_vhost_enable_guest_notification(vid, queue, 0);
    atomic_store(&ready, vid);
    return 0;
}
static void destroy_device(int vid) { (void)vid; }
static const struct rte_vhost_device_ops OPS = { .new_device = new_device, .destroy_device = destroy_device };

/* Listens at `path`. 0, or what failed: 1 the environment, 2 the socket. */
int bench_start(const char *path) {
    char *eal[] = { "ring-bench", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
                    "-m", "512", "-l", "0", "--log-level", "error" };
    if (rte_eal_init(sizeof eal / sizeof *eal, eal) < 0) return 1;
    int failed = rte_vhost_driver_register(path, 0) || rte_vhost_driver_callback_register(path, &OPS)
                 || rte_vhost_driver_start(path);
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

/* Returns where the bytes of frame `index` are, which has `len` bytes in a buffer of `wanted` bytes. All frames have
 * buffers of one length. They are allocated once; an enqueue leaves them to its caller. */
void *bench_frame(unsigned index, unsigned len, unsigned wanted) {
    if (index >= FRAMES || len > wanted) return NULL;
    if (room != wanted) {
        char name[32];
        snprintf(name, sizeof name, "frames-%u", pools++);
        struct rte_mempool *pool =
            rte_pktmbuf_pool_create(name, FRAMES, 0, 0, wanted + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
        if (!pool || rte_pktmbuf_alloc_bulk(pool, bench_frames, FRAMES) != 0) return NULL;
        room = wanted;
    }
    rte_pktmbuf_data_len(bench_frames[index]) = len;
    rte_pktmbuf_pkt_len(bench_frames[index]) = len;
    return rte_pktmbuf_mtod(bench_frames[index], void *);
}

/* Frames 0 to `count` into queue 0 of device `vid`; how many were taken. */
unsigned bench_enqueue(int vid, unsigned count) {
    unsigned done = 0;
    while (done < count) {
        unsigned left = count - done, most = left < MOST ? left : MOST;
        unsigned taken = rte_vhost_enqueue_burst(vid, 0, bench_frames + done, most);
        done += taken;
        if (taken < most) break;
    }
    return done;
}

/* Which of its receive functions the driver says that it uses, in `text`. */
static int start_port(uint16_t port, char *text, size_t len) {
    char *log = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&log, &bytes);
    if (!stream) return -1;
    rte_log_set_level_pattern("pmd.net.virtio.*", RTE_LOG_INFO);
    rte_log_set_global_level(RTE_LOG_INFO);
    rte_openlog_stream(stream);
    int failed = rte_eth_dev_start(port);
    rte_openlog_stream(NULL);
    rte_log_set_global_level(RTE_LOG_ERR);
    fclose(stream);
    char *begin = log ? strstr(log, "using ") : NULL, *end = begin ? strstr(begin, " Rx path") : NULL;
    while (begin && !end && (begin = strstr(begin + 1, "using "))) end = strstr(begin, " Rx path");
    for (char *next = begin; next && next < end; next = strstr(next + 1, "using ")) begin = next;
    int count = begin && end ? (int)(end - begin) - 6 : 0;
    snprintf(text, len, "%.*s", count, begin ? begin + 6 : "");
    free(log);
    return failed;
}

/* Opens a port of DPDK's virtio driver, the front-end of a device at `path`, with a queue of `FRAMES` entries,
 * `options` for the driver, and buffers of `room` bytes. The name of the way by which the driver receives is put into
 * `text`. Returns the port, or a number below 0 that says what failed. */
int bench_port(const char *path, const char *options, unsigned room, char *text, unsigned len) {
    char name[32], args[256];
    uint16_t port;
    int failed = rte_vhost_driver_register(path, 0) || rte_vhost_driver_callback_register(path, &OPS)
                 || rte_vhost_driver_start(path);
    if (failed) return -1;
    snprintf(name, sizeof name, "net_virtio_user%u", pools);
    snprintf(args, sizeof args, "path=%s,queue_size=%u,%s", path, (unsigned)FRAMES, options);
    if (rte_eal_hotplug_add("vdev", name, args) || rte_eth_dev_get_port_by_name(name, &port)) return -2;
    char pool_name[32];
    snprintf(pool_name, sizeof pool_name, "received-%u", pools++);
    struct rte_mempool *pool = rte_pktmbuf_pool_create(pool_name, 4 * FRAMES - 1, FRAMES, 0,
                                                       room + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    if (!pool) return -3;
    struct rte_eth_conf conf = { .rxmode = { .mtu = room < 9728 ? 1500 : 9600 } };
    if (rte_eth_dev_configure(port, 1, 1, &conf)) return -4;
    if (rte_eth_rx_queue_setup(port, 0, FRAMES, SOCKET_ID_ANY, NULL, pool)) return -5;
    if (rte_eth_tx_queue_setup(port, 0, FRAMES, SOCKET_ID_ANY, NULL)) return -6;
    return start_port(port, text, len) ? -7 : port;
}

/* Takes `count` frames from `port`, or all that there are; how many. */
unsigned bench_rx(int port, unsigned count) {
    unsigned done = 0;
    while (done < count) {
        unsigned some = rte_eth_rx_burst(port, 0, taken + done, count - done);
        if (some == 0) break;
        done += some;
    }
    return done;
}

/* Where frame `index` of those taken is, and how long; from `FRAMES` on, of those that bench_frame made. */
const void *bench_taken(unsigned index, unsigned *len) {
    struct rte_mbuf *frame = index < FRAMES ? taken[index] : bench_frames[index % FRAMES];
    *len = rte_pktmbuf_pkt_len(frame);
    return rte_pktmbuf_mtod(frame, void *);
}

/* Frees the first `count` frames that were taken. */
void bench_free(unsigned count) { rte_pktmbuf_free_bulk(taken, count); }

/* Links one behind the other: what goes into port `in` of one comes out of its port `out`. */
enum { LINKS = 3, BUFFERS = 8191 };

static struct { uint16_t in, out; } links[2][LINKS];
static struct rte_mempool *link_pool;
static struct rte_mbuf *carried[MOST];

/* Makes a port of the driver that `name` begins with, and starts it. */
static int link_port(const char *name, const char *args, uint16_t *port) {
    struct rte_eth_conf conf = { 0 };
    if (rte_eal_hotplug_add("vdev", name, args) || rte_eth_dev_get_port_by_name(name, port)) return -1;
    if (rte_eth_dev_configure(*port, 1, 1, &conf)) return -2;
    if (rte_eth_rx_queue_setup(*port, 0, 1024, SOCKET_ID_ANY, NULL, link_pool)) return -3;
    if (rte_eth_tx_queue_setup(*port, 0, 1024, SOCKET_ID_ANY, NULL)) return -4;
    return rte_eth_dev_start(*port) ? -5 : 0;
}

/* Waits for at most `ms` milliseconds until `port` is connected. */
static int link_up(uint16_t port, unsigned ms) {
    struct rte_eth_link link = { 0 };
    for (; ms > 0; ms--) {
        rte_eth_link_get_nowait(port, &link);
        if (link.link_status) return 0;
        usleep(1000);
    }
    return -6;
}

/* Makes the links: by memif, or by vhost and virtio-user if `vhost` is not 0. Sockets are in `folder`. 0, or a number
 * below 0 that says what failed. */
int bench_links(unsigned vhost, const char *folder, unsigned ms) {
    vhost = vhost != 0;
    if (!link_pool)
        link_pool = rte_pktmbuf_pool_create("links", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!link_pool) return -7;
    for (unsigned at = 0; at < LINKS; at++) {
        char names[2][32], args[2][256];
        if (vhost) {
            snprintf(names[0], 32, "net_vhost9%u", at);
            snprintf(args[0], 256, "iface=%s/vhost%u", folder, at);
            snprintf(names[1], 32, "net_virtio_user9%u", at);
            snprintf(args[1], 256, "path=%s/vhost%u,mrg_rxbuf=0,in_order=0,vectorized=1", folder, at);
        } else {
            snprintf(names[0], 32, "net_memif9%u", 2 * at);
            snprintf(args[0], 256, "role=server,id=%u,socket-abstract=no,socket=%s/memif", at, folder);
            snprintf(names[1], 32, "net_memif9%u", 2 * at + 1);
            snprintf(args[1], 256, "role=client,id=%u,socket-abstract=no,socket=%s/memif", at, folder);
        }
        int failed = link_port(names[0], args[0], &links[vhost][at].in);
        if (!failed) failed = link_port(names[1], args[1], &links[vhost][at].out);
        if (!failed) failed = link_up(links[vhost][at].in, ms);
        if (!failed) failed = link_up(links[vhost][at].out, ms);
        if (failed) return failed;
        /* A port that is polled wants no interrupts: memif's other side pays for each by a system call. */
        (void)rte_eth_dev_rx_intr_disable(links[vhost][at].out, 0);
        /* The first call gives the other side buffers. */
        struct rte_mbuf *none[MOST];
        rte_pktmbuf_free_bulk(none, rte_eth_rx_burst(links[vhost][at].out, 0, none, MOST));
    }
    return 0;
}

/* Makes `count` frames of `len` bytes to carry. Returns how many: 0 if there are too many, or if no buffer holds that
 * length, or if it is 0. */
unsigned bench_links_fill(unsigned count, unsigned len) {
    if (count > MOST || len == 0 || len > RTE_MBUF_DEFAULT_DATAROOM) return 0;
    if (rte_pktmbuf_alloc_bulk(link_pool, carried, count)) return 0;
    for (unsigned at = 0; at < count; at++) {
        rte_pktmbuf_data_len(carried[at]) = rte_pktmbuf_pkt_len(carried[at]) = len;
        memset(rte_pktmbuf_mtod(carried[at], void *), at + 1, len);
    }
    return count;
}

/* Carries the frames over all links. Returns how many came through; the others are lost. */
unsigned bench_links_carry(unsigned vhost, unsigned count) {
    for (unsigned at = 0; at < LINKS; at++) {
        unsigned sent = rte_eth_tx_burst(links[vhost][at].in, 0, carried, count);
        if (sent < count) rte_pktmbuf_free_bulk(carried + sent, count - sent);
        unsigned got = 0;
        for (unsigned turn = 0; got < sent && turn < 4; turn++)
            got += rte_eth_rx_burst(links[vhost][at].out, 0, carried + got, sent - got);
        count = got;
    }
    return count;
}

/* Frees the `count` frames that came through, whose length `len` is not 0. Returns how many of them are what
 * bench_links_fill made. */
unsigned bench_links_free(unsigned count, unsigned len) {
    unsigned right = 0;
    for (unsigned at = 0; at < count; at++) {
        const uint8_t *bytes = rte_pktmbuf_mtod(carried[at], const uint8_t *);
        right += rte_pktmbuf_pkt_len(carried[at]) == len && bytes[0] == at + 1 && bytes[len - 1] == at + 1;
    }
    rte_pktmbuf_free_bulk(carried, count);
    return right;
}
