/* Feeds a program that forwards with DPDK, for src/switch/ovs/feed.rs, from within: this library is loaded before the
 * program's own ones (LD_PRELOAD). DPDK's driver net_null hands out packets that nobody wrote; a callback behind its
 * receive function writes the frames of the next flows into them, and times what the program does until it comes back
 * for more.
 *
 * What is to be fed, and what was measured, is in a file that both sides map or read: `struct feed`. Its path is in the
 * environment variable `FEED`; without it, nothing is fed.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Packets of a burst, bursts of a chunk, chunks that are kept, bytes of a frame; readings from which the first best one
 * comes. */
enum { BURST = 32, CHUNK = 64, KEPT = 4096, LEN = 60, READINGS = 100000 };

struct chunk {
    uint64_t ticks;    /* of all its bursts, without what the clock takes */
    uint64_t slower;   /* reading of a loop of fixed work: the slower one of those before and after the chunk */
    uint64_t switched; /* not 0: the thread was switched out meanwhile */
};

/* All words are 64 bits in the machine's order. */
struct feed {
    _Atomic uint64_t flows;        /* by the reader: number of flows; 0: nothing is fed */
    _Atomic uint64_t destinations; /* by the reader: number of destination addresses; that of a flow is its remainder */
    _Atomic uint64_t asked;        /* by the reader: another number begins another series of chunks */
    _Atomic uint64_t begun;        /* number of the series that was begun last */
    _Atomic uint64_t done;         /* chunks of this series */
    _Atomic uint64_t best;         /* best reading so far of the loop of fixed work; 0: it was not read yet */
    uint8_t sample[64];            /* the frame of the last flow, once the series has begun */
    struct chunk chunks[KEPT];
};

static struct feed *feed;
static uint64_t state = 0x5851f42d4c957f2d, clock_takes;

/* Ticks so far, as src/clock.rs counts them. */
static uint64_t now(void) {
    __builtin_ia32_lfence();
    return rte_rdtsc();
}

/* The next flow, as `Draw` of src/switch/frames.rs draws it. */
static uint32_t draw(uint64_t flows) {
    state = state * 6364136223846793005 + 1442695040888963407;
    return ((state >> 32) * flows) >> 32;
}

/* Writes the frame of `flow`, that of `Frame` in src/switch/frames.rs, to one of the destinations. */
static void write_frame(uint32_t flow, uint8_t *frame) {
    static const uint8_t START[24] = { 2, 0, 0, 0, 0, 0, 6, 6, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6 };
    uint64_t mixed = flow * 0x9e3779b97f4a7c15, destinations = atomic_load(&feed->destinations);
    uint32_t address = rte_cpu_to_be_32(flow);
    memset(frame, 0, LEN);
    memcpy(frame, START, sizeof START);
    if (destinations) frame[5] = flow % destinations;
    if (flow % 2) frame[23] = 17;
    mixed = rte_cpu_to_be_64(mixed << 32 | mixed >> 32);
    memcpy(frame + 26, &address, 4);
    memcpy(frame + 30, &mixed, 8);
    frame[39] = 26;
    frame[46] = 0x50;
}

/* Ticks of a fixed piece of work in registers, six chains whose steps can be done at once: that of src/quiet.rs. */
static uint64_t work(void) {
    uint64_t start = now(), chains[] = {1, 2, 3, 4, 5, 6};
    for (uint64_t step = 0; step < 400; step++)
        for (int at = 0; at < 6; at++) {
            chains[at] = (chains[at] << 7 | chains[at] >> 57) ^ step;
            __asm__ volatile("" : "+r"(chains[at]));
        }
    return now() - start;
}

/* Number of time slices that this thread had. See: Linux, Documentation/scheduler/sched-stats.rst. */
static uint64_t slices(void) {
    static __thread int file = -1;
    if (file < 0) file = open("/proc/thread-self/schedstat", O_RDONLY);
    char text[96];
    ssize_t len = pread(file, text, sizeof text - 1, 0);
    unsigned long long count = 0;
    text[len > 0 ? len : 0] = 0;
    sscanf(text, "%*s %*s %llu", &count);
    return count;
}

/* The chunk that goes on: its bursts so far, -1 if none does; and when the program was given the last burst. */
static int bursts = -1;
static struct chunk open_chunk;
static uint64_t before, slices_before, left_at;

/* Reads the loop, and notes the best reading. */
static uint64_t read_work(void) {
    uint64_t reading = work(), best = atomic_load_explicit(&feed->best, memory_order_relaxed);
    if (!best || reading < best) atomic_store(&feed->best, reading);
    return reading;
}

/* Begins a chunk. */
static void begin(void) {
    open_chunk = (struct chunk){ 0 };
    slices_before = slices();
    before = read_work();
    bursts = 0;
}

/* Ends the chunk, and keeps it unless there is no room. */
static void end(void) {
    uint64_t after = read_work(), done = atomic_load_explicit(&feed->done, memory_order_relaxed);
    open_chunk.slower = before > after ? before : after;
    open_chunk.switched = slices() != slices_before;
    bursts = -1;
    if (done == KEPT) return;
    feed->chunks[done] = open_chunk;
    atomic_store(&feed->done, done + 1);
}

/* Counts a burst of the chunk that goes on, which began at `left_at` and ended at `at`, and ends the chunk with its
 * last one. A program that was given fewer packets than a burst has no chunk. */
static void count(uint64_t at, uint16_t packets) {
    uint64_t ticks = at - left_at;
    if (bursts >= 0) open_chunk.ticks += ticks > clock_takes ? ticks - clock_takes : 0;
    if (bursts >= 0 && ++bursts == CHUNK) end();
    uint64_t asked = atomic_load(&feed->asked);
    if (asked != atomic_load(&feed->begun)) {
        bursts = -1;
        for (int reading = 0; reading < READINGS; reading++) read_work();
        atomic_store(&feed->done, 0);
        write_frame(atomic_load(&feed->flows) - 1, feed->sample);
        atomic_store(&feed->begun, asked);
    }
    if (packets != BURST) bursts = -1;
    else if (bursts < 0) begin();
}

/* The callback behind the receive function: times the burst before, and writes the next frames into `packets`. */
static uint16_t received(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count_of, uint16_t most,
                         void *none) {
    uint64_t at = now(), flows = atomic_load(&feed->flows);
    (void)port, (void)queue, (void)most, (void)none;
    if (!flows) {
        rte_pktmbuf_free_bulk(packets, count_of);
        bursts = -1;
        return 0;
    }
    count(at, count_of);
    for (uint16_t packet = 0; packet < count_of; packet++)
        write_frame(draw(flows), rte_pktmbuf_mtod(packets[packet], uint8_t *));
    left_at = now();
    return count_of;
}

/* Maps the file at `path`, and finds out what the clock takes. 0, or -1 if there is no such file. */
static int map_feed(const char *path) {
    int file = open(path, O_RDWR);
    void *at = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *feed, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (at == MAP_FAILED) return -1;
    feed = at;
    clock_takes = UINT64_MAX;
    for (int reading = 0; reading < 64; reading++) {
        uint64_t start = now(), ticks = now() - start;
        if (ticks < clock_takes) clock_takes = ticks;
    }
    return 0;
}

/* Takes the place of DPDK's function: feeds the first port of net_null. */
int rte_eth_dev_start(uint16_t port) {
    int (*start)(uint16_t) = (int (*)(uint16_t))dlsym(RTLD_NEXT, "rte_eth_dev_start");
    const char *path = getenv("FEED");
    char name[RTE_ETH_NAME_MAX_LEN] = "";
    if (!start) return -ENOSYS;
    int wanted = path && !feed && rte_eth_dev_get_name_by_port(port, name) == 0 && !strcmp(name, "net_null0");
    if (wanted && (map_feed(path) || !rte_eth_add_rx_callback(port, 0, received, NULL))) return -EIO;
    return start(port);
}
