/* The other end of a channel in the tests of sluice_channel.h: a reader or writer of a file in another process.
 *
 *     peer read FILE LEN COUNT    reads packets until record COUNT - 1 was read or lost; checks every byte of each
 *     peer bytes FILE LEN COUNT   the same with a stream of COUNT bytes
 *     peer write FILE LEN COUNT   writes COUNT packets
 *     peer endless FILE LEN 0     writes packets until it is killed
 *
 * A line with what was read and lost is printed at the end. Exit code 1: something was not as it was written.
 */
#define _GNU_SOURCE
#include "../sluice_channel.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MOST = 1500 };

/* Packet `number`, which has 8 bytes at least: its number, and bytes that follow from it. One in 32 is long. */
static size_t packet(uint8_t *bytes, uint64_t number) {
    size_t len = 8 + (number * 2654435761u >> 7) % (number % 32 ? 100 : MOST - 8);
    memcpy(bytes, &number, 8);
    for (size_t at = 8; at < len; at++) bytes[at] = (uint8_t)(number * 31 + at);
    return len;
}

static int read_packets(struct sluice_reader *reader, uint64_t count) {
    static uint8_t got[4096], wanted[MOST];
    uint64_t read = 0, lost = 0, writers = 0;
    while (read + lost < count) {
        struct sluice_lost gone;
        int64_t len = sluice_read(reader, got, sizeof got, &gone);
        if (len == SLUICE_OVERRUN) lost += gone.records;
        else if (len == SLUICE_NEW_WRITER) writers++;
        else if (len >= 0) {
            if ((size_t)len != packet(wanted, read + lost) || memcmp(got, wanted, (size_t)len)) return 1;
            read++;
        } else if (len != SLUICE_EMPTY) return 2;
    }
    printf("read %" PRIu64 " lost %" PRIu64 " writers %" PRIu64 "\n", read, lost, writers);
    return 0;
}

static int read_bytes(struct sluice_reader *reader, uint64_t count) {
    static uint8_t got[4096];
    uint64_t read = 0, lost = 0;
    while (read + lost < count) {
        struct sluice_lost gone;
        int64_t len = sluice_read(reader, got, sizeof got, &gone);
        if (len == SLUICE_OVERRUN) lost += gone.bytes;
        for (int64_t at = 0; at < len; at++)
            if (got[at] != (uint8_t)((read + lost + (uint64_t)at) * 13 >> 3)) return 1;
        if (len > 0) read += (uint64_t)len;
        else if (len != SLUICE_EMPTY && len != SLUICE_OVERRUN) return 2;
    }
    printf("read %" PRIu64 " lost %" PRIu64 " writers 0\n", read, lost);
    return 0;
}

static int write_packets(void *memory, uint64_t len, uint64_t count, int endless) {
    static uint8_t bytes[MOST];
    struct sluice_writer writer;
    if (sluice_writer_open(&writer, memory, len)) return 3;
    for (; endless || writer.number < count;)
        if (sluice_write(&writer, bytes, packet(bytes, writer.number))) return 4;
    printf("read 0 lost 0 writers 0\n");
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 5) return 5;
    int writes = argv[1][0] == 'w' || argv[1][0] == 'e', bytes = argv[1][0] == 'b';
    int file = open(argv[2], writes ? O_RDWR : O_RDONLY);
    uint64_t len = strtoull(argv[3], NULL, 10), count = strtoull(argv[4], NULL, 10);
    void *memory = mmap(NULL, len, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || memory == MAP_FAILED) return 6;
    if (writes) return write_packets(memory, len, count, argv[1][0] == 'e');
    struct sluice_reader reader;
    if (sluice_reader_open(&reader, memory, len, bytes ? SLUICE_BYTES : SLUICE_PACKETS)) return 7;
    /* The writer waits until the reader is there. */
    printf("ready\n");
    fflush(stdout);
    return bytes ? read_bytes(&reader, count) : read_packets(&reader, count);
}
