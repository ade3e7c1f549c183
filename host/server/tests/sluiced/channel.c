/* A process with a channel of the server, or a guest with one as memory of a device.
 *
 *     channel read SOCKET COUNT    reads packets until number COUNT - 1 was read: "read N"
 *     channel write SOCKET COUNT   writes packets with the numbers from 0 to COUNT - 1, and "written"
 *
 *     channel bar-read BAR COUNT, bar-write BAR COUNT, bar-scribble BAR 0
 *                                  the same with the memory itself; and a guest that overwrites all of it
 *
 * A refusal is printed as "refused: " and the server's line. Exit code 1: something was not as it was written.
 */
#define _GNU_SOURCE
#include "../../../../fastpath/channel/sluice_channel.h"
#include "../../../channels/sluice_connect.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int read_all(struct sluice_connection *channel, uint64_t count) {
    struct sluice_reader reader;
    struct sluice_lost lost;
    uint64_t next = 0, number;
    if (sluice_reader_open(&reader, channel->memory, channel->len, SLUICE_PACKETS)) return 2;
    puts("ready");
    fflush(stdout);
    while (next < count) {
        int64_t got = sluice_read(&reader, &number, sizeof number, &lost);
        if (got == SLUICE_EMPTY || got == SLUICE_NEW_WRITER) continue;
        if (got != sizeof number || number != next++) return 3;
    }
    printf("read %" PRIu64 "\n", next);
    return 0;
}

static int write_packets(struct sluice_connection *channel, uint64_t count) {
    struct sluice_writer writer;
    if (sluice_writer_open(&writer, channel->memory, channel->len)) return 2;
    for (uint64_t number = 0; number < count; number++)
        if (sluice_write(&writer, &number, sizeof number)) return 3;
    return 0;
}

/* What a guest does with the memory of its device. */
static int use_bar(const char *what, const char *path, uint64_t count) {
    struct sluice_connection channel = { .len = 2 << 20 };
    int file = open(path, O_RDWR);
    channel.memory = mmap(NULL, channel.len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || channel.memory == MAP_FAILED) return 8;
    if (!strcmp(what, "bar-read")) return read_all(&channel, count);
    if (!strcmp(what, "bar-write")) return write_packets(&channel, count);
    memset(channel.memory, 0xff, channel.len);
    return 0;
}

int main(int argc, char **argv) {
    struct sluice_connection channel;
    if (argc != 4) return 5;
    if (argv[1][0] == 'b') return use_bar(argv[1], argv[2], strtoull(argv[3], NULL, 10));
    int writes = argv[1][0] == 'w';
    if (sluice_connect(&channel, argv[2], writes ? SLUICE_WRITER : SLUICE_READER))
        return printf("refused: %s", channel.said), 6;
    if (!channel.is_sealed) return 7;
    uint64_t count = strtoull(argv[3], NULL, 10);
    int failed = writes ? write_packets(&channel, count) : read_all(&channel, count);
    if (writes && !failed) {
        puts("written");
        fflush(stdout);
        /* It is the writer until its input ends. */
        failed = getchar() == EOF ? 0 : 4;
    }
    sluice_disconnect(&channel);
    return failed;
}
