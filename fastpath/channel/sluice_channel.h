/* Channels in C: shared memory in which one writer leaves packets, or bytes, for many readers, who can only read it.
 *
 * C11, header only. The layout and its rules are those of abi/src/channel.rs; the same in Rust is the crate
 * sluice-channel. A reader needs the memory mapped for reading only, at a multiple of 8.
 *
 *     struct sluice_reader reader;
 *     if (sluice_reader_open(&reader, memory, len, SLUICE_PACKETS)) return 1;
 *     for (;;) {
 *         struct sluice_lost lost;
 *         int64_t got = sluice_read(&reader, packet, sizeof packet, &lost);
 *         if (got >= 0) take(packet, got);
 *         else if (got == SLUICE_OVERRUN) printf("%" PRIu64 " records lost\n", lost.records);
 *         else if (got != SLUICE_EMPTY && got != SLUICE_NEW_WRITER) return 1;
 *     }
 *
 * What the writer says is checked: no call reads beyond `len` bytes of the memory, or writes beyond the caller's, and
 * each ends. What the bytes of a record say is the writer's claim.
 */
#ifndef SLUICE_CHANNEL_H
#define SLUICE_CHANNEL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a channel carries. */
enum { SLUICE_BYTES = 1, SLUICE_PACKETS = 2 };

/* What a call returns instead of a length. */
enum {
    /* There is nothing to read now. */
    SLUICE_EMPTY = -1,
    /* The writer has overwritten what was to be read next. `lost` says how much; the reader goes on with the oldest. */
    SLUICE_OVERRUN = -2,
    /* What comes next is another writer's, `reader->generation`. */
    SLUICE_NEW_WRITER = -3,
    /* The next record does not fit, and stays the next one: `lost->bytes` is its length. */
    SLUICE_BUFFER = -4,
    /* The memory says what no writer writes. A reader stays where it is. */
    SLUICE_FAULT = -5,
    /* This is no channel, or of another kind, version or length. */
    SLUICE_NO_CHANNEL = -6,
    /* A record is longer than a quarter of the ring less 16 bytes. */
    SLUICE_TOO_LONG = -7
};

/* What an overrun reader lost: records (0 of a stream of bytes), and bytes of the ring. */
struct sluice_lost {
    uint64_t records, bytes;
};

/* The writer's words. Only the writer writes them. */
struct sluice_positions {
    _Atomic uint64_t published, oldest, generation, began;
};

struct sluice_reader {
    const struct sluice_positions *positions;
    const uint8_t *ring;
    uint64_t capacity;
    /* Position and number of what comes next, and number of the writer that wrote what was read. */
    uint64_t at, number, generation;
    int kind;
};

struct sluice_writer {
    struct sluice_positions *positions;
    uint8_t *ring;
    uint64_t capacity;
    /* Position and number of what comes next, and position of the oldest record or byte. */
    uint64_t next, number, oldest;
    int kind;
};

enum { SLUICE_ALIGN = 16, SLUICE_DATA = 1, SLUICE_PADDING = 2, SLUICE_LOOKS = 1000 };

/* What stands before the bytes of a record. */
struct sluice_record {
    uint32_t len, kind;
    uint64_t number;
};

/* Reads 8 bytes of the ring once. */
static inline uint64_t sluice_word(const uint8_t *ring, uint64_t offset) {
    return *(const volatile uint64_t *)(const void *)(ring + offset);
}

static inline uint64_t sluice_size(uint64_t len) {
    return (len + 2 * SLUICE_ALIGN - 1) & ~(uint64_t)(SLUICE_ALIGN - 1);
}

/* Whether what was copied from `at` on was not given up before. */
static inline int sluice_is_whole(const struct sluice_positions *positions, uint64_t at) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&positions->oldest, memory_order_relaxed) <= at;
}

/* Checks the header, and returns the ring's length in bytes; 0 if this is no channel of this kind. */
static inline uint64_t sluice_capacity(const void *memory, uint64_t len, int kind) {
    const uint8_t *bytes = (const uint8_t *)memory;
    if (len < 4096 || (uintptr_t)memory % 8) return 0;
    uint64_t magic = sluice_word(bytes, 0), shape = sluice_word(bytes, 8), capacity = sluice_word(bytes, 16);
    if (memcmp(&magic, "SluiceCh", 8) || shape != ((uint64_t)kind << 32 | 1)) return 0;
    int power = (capacity & (capacity - 1)) == 0 && capacity >= 4096 && capacity <= (uint64_t)1 << 32;
    return power && len - 4096 >= capacity ? capacity : 0;
}

/* The record at `at`, which ends at `end` or before. 0, or SLUICE_FAULT if none can be there. */
static inline int sluice_record_at(const uint8_t *ring, uint64_t capacity, uint64_t at, uint64_t end,
                                   struct sluice_record *record) {
    uint64_t offset = at & (capacity - 1), rest = capacity - offset, word = sluice_word(ring, offset);
    record->len = (uint32_t)word;
    record->kind = (uint32_t)(word >> 32);
    record->number = sluice_word(ring, offset + 8);
    uint64_t size = sluice_size(record->len);
    int is_data = record->kind == SLUICE_DATA && size <= rest && record->len <= capacity / 4 - SLUICE_ALIGN;
    int is_padding = record->kind == SLUICE_PADDING && size == rest;
    return (is_data || is_padding) && size <= end - at ? 0 : SLUICE_FAULT;
}

/* Position and number of the oldest record or byte. 0, or SLUICE_EMPTY if it was given up meanwhile. */
static inline int sluice_oldest(const struct sluice_positions *positions, const uint8_t *ring, uint64_t capacity,
                                int kind, uint64_t *at, uint64_t *number) {
    uint64_t oldest = atomic_load_explicit(&positions->oldest, memory_order_acquire);
    uint64_t published = atomic_load_explicit(&positions->published, memory_order_acquire);
    int packets = kind == SLUICE_PACKETS;
    *at = oldest;
    *number = packets ? sluice_word(ring, (oldest & (capacity - SLUICE_ALIGN)) + 8) : 0;
    if (!sluice_is_whole(positions, oldest)) return SLUICE_EMPTY;
    if (published == 0 && oldest == 0) {
        *number = 0;
        return 0;
    }
    if (oldest > published || published - oldest > capacity || published >> 62) return SLUICE_FAULT;
    if (packets && (published == oldest || (published | oldest) % SLUICE_ALIGN)) return SLUICE_FAULT;
    return 0;
}

/* Opens the channel in `len` bytes at `memory`, at the oldest that it has. 0, SLUICE_NO_CHANNEL or SLUICE_FAULT;
 * SLUICE_EMPTY if the writer was too fast, and the caller may try again. */
static inline int sluice_reader_open(struct sluice_reader *reader, const void *memory, uint64_t len, int kind) {
    uint64_t capacity = sluice_capacity(memory, len, kind);
    if (!capacity) return SLUICE_NO_CHANNEL;
    const struct sluice_positions *positions = (const void *)((const uint8_t *)memory + 64);
    *reader = (struct sluice_reader){ positions, (const uint8_t *)memory + 4096, capacity, 0, 0, 0, kind };
    reader->generation = atomic_load_explicit(&positions->generation, memory_order_acquire);
    int failed = SLUICE_EMPTY;
    for (int look = 0; look < SLUICE_LOOKS && failed == SLUICE_EMPTY; look++)
        failed = sluice_oldest(positions, reader->ring, capacity, kind, &reader->at, &reader->number);
    return failed;
}

/* What went wrong with what was read at the reader's place: `what`, unless the writer has overwritten it. */
static inline int sluice_explain(struct sluice_reader *reader, int what, struct sluice_lost *lost) {
    uint64_t at, number;
    if (sluice_is_whole(reader->positions, reader->at)) return what;
    int failed = sluice_oldest(reader->positions, reader->ring, reader->capacity, reader->kind, &at, &number);
    if (failed) return failed;
    lost->bytes = at - reader->at;
    lost->records = reader->kind == SLUICE_PACKETS ? number - reader->number : 0;
    if (at < reader->at || lost->records > lost->bytes / SLUICE_ALIGN) return SLUICE_FAULT;
    reader->at = at;
    reader->number += lost->records;
    return SLUICE_OVERRUN;
}

/* Up to where the reader may read: `*end`. 0, SLUICE_NEW_WRITER or SLUICE_FAULT. */
static inline int sluice_end(struct sluice_reader *reader, uint64_t *end) {
    const struct sluice_positions *positions = reader->positions;
    *end = atomic_load_explicit(&positions->published, memory_order_acquire);
    if (*end < reader->at || *end - reader->at > reader->capacity) return SLUICE_FAULT;
    uint64_t generation = atomic_load_explicit(&positions->generation, memory_order_acquire);
    if (generation == reader->generation) return 0;
    uint64_t began = atomic_load_explicit(&positions->began, memory_order_relaxed);
    if (reader->at < began) {
        if (began < *end) *end = began;
        return 0;
    }
    reader->generation = generation;
    return generation == 1 ? 0 : SLUICE_NEW_WRITER;
}

/* Copies the next bytes of a stream into `into`. Returns how many, at least 1, or what came instead. */
static inline int64_t sluice_read_bytes(struct sluice_reader *reader, void *into, size_t room,
                                        struct sluice_lost *lost) {
    uint64_t end, offset = reader->at & (reader->capacity - 1), rest = reader->capacity - offset;
    int failed = sluice_end(reader, &end);
    if (failed) return failed == SLUICE_FAULT ? sluice_explain(reader, failed, lost) : failed;
    uint64_t len = end - reader->at < room ? end - reader->at : room, first = len < rest ? len : rest;
    if (len == 0) return SLUICE_EMPTY;
    memcpy(into, reader->ring + offset, first);
    memcpy((uint8_t *)into + first, reader->ring, len - first);
    if (!sluice_is_whole(reader->positions, reader->at)) return sluice_explain(reader, SLUICE_FAULT, lost);
    reader->at += len;
    return (int64_t)len;
}

/* Copies the next record into `into`. Returns its length, or what came instead. */
static inline int64_t sluice_read_packet(struct sluice_reader *reader, void *into, size_t room,
                                         struct sluice_lost *lost) {
    struct sluice_record record;
    uint64_t end, at = reader->at;
    int failed = sluice_end(reader, &end);
    if (failed) return failed == SLUICE_FAULT ? sluice_explain(reader, failed, lost) : failed;
    for (; at != end; at += sluice_size(record.len)) {
        failed = sluice_record_at(reader->ring, reader->capacity, at, end, &record);
        if (failed || record.number != reader->number) return sluice_explain(reader, SLUICE_FAULT, lost);
        if (record.kind == SLUICE_PADDING) continue;
        if (record.len > room) {
            lost->bytes = record.len;
            return sluice_explain(reader, SLUICE_BUFFER, lost);
        }
        memcpy(into, reader->ring + (at & (reader->capacity - 1)) + SLUICE_ALIGN, record.len);
        if (!sluice_is_whole(reader->positions, reader->at)) return sluice_explain(reader, SLUICE_FAULT, lost);
        reader->at = at + sluice_size(record.len);
        reader->number++;
        return record.len;
    }
    return SLUICE_EMPTY;
}

/* Copies the next record, or the next bytes, into the `room` bytes at `into`. Returns the length, or what came instead,
 * of which `lost` has the numbers. */
static inline int64_t sluice_read(struct sluice_reader *reader, void *into, size_t room, struct sluice_lost *lost) {
    *lost = (struct sluice_lost){ 0, 0 };
    if (reader->kind == SLUICE_BYTES) return sluice_read_bytes(reader, into, room, lost);
    int64_t got = sluice_read_packet(reader, into, room, lost);
    /* Padding alone is not lost. */
    return got == SLUICE_OVERRUN && lost->records == 0 ? sluice_read_packet(reader, into, room, lost) : got;
}

/* Opens the channel of packets in `len` bytes at `memory`, behind the last record that is published. The caller makes
 * sure that there is no other writer. 0, SLUICE_NO_CHANNEL or SLUICE_FAULT. */
static inline int sluice_writer_open(struct sluice_writer *writer, void *memory, uint64_t len) {
    uint64_t capacity = sluice_capacity(memory, len, SLUICE_PACKETS), at, number;
    if (!capacity) return SLUICE_NO_CHANNEL;
    struct sluice_positions *positions = (void *)((uint8_t *)memory + 64);
    uint8_t *ring = (uint8_t *)memory + 4096;
    if (sluice_oldest(positions, ring, capacity, SLUICE_PACKETS, &at, &number)) return SLUICE_FAULT;
    uint64_t oldest = at, published = atomic_load_explicit(&positions->published, memory_order_acquire);
    struct sluice_record record;
    for (; at != published; at += sluice_size(record.len)) {
        if (sluice_record_at(ring, capacity, at, published, &record) || record.number != number) return SLUICE_FAULT;
        number += record.kind == SLUICE_DATA;
    }
    *writer = (struct sluice_writer){ positions, ring, capacity, published, number, oldest, SLUICE_PACKETS };
    uint64_t generation = atomic_load_explicit(&positions->generation, memory_order_relaxed);
    atomic_store_explicit(&positions->began, published, memory_order_relaxed);
    atomic_store_explicit(&positions->generation, generation + 1, memory_order_release);
    return 0;
}

/* Writes what stands before a record at the next position. */
static inline void sluice_put(struct sluice_writer *writer, uint64_t len, uint64_t kind) {
    volatile uint64_t *words = (void *)(writer->ring + (writer->next & (writer->capacity - 1)));
    words[0] = kind << 32 | len;
    words[1] = writer->number;
}

/* Writes and publishes a record. 0, SLUICE_TOO_LONG, or SLUICE_FAULT if somebody else has written into the ring. */
static inline int sluice_write(struct sluice_writer *writer, const void *bytes, size_t len) {
    struct sluice_record record;
    uint64_t capacity = writer->capacity, offset = writer->next & (capacity - 1), published = writer->next;
    if (len > capacity / 4 - SLUICE_ALIGN) return SLUICE_TOO_LONG;
    uint64_t size = sluice_size(len), padding = size > capacity - offset ? capacity - offset : 0;
    uint64_t end = published + padding + size, step = capacity / 16 < 8192 ? capacity / 16 : 8192;
    if (end - writer->oldest > capacity) {
        uint64_t at = writer->oldest;
        for (; at < end - capacity + step; at += sluice_size(record.len))
            if (sluice_record_at(writer->ring, capacity, at, published, &record)) return SLUICE_FAULT;
        writer->oldest = at;
        atomic_store_explicit(&writer->positions->oldest, at, memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
    }
    if (padding) sluice_put(writer, padding - SLUICE_ALIGN, SLUICE_PADDING);
    writer->next += padding;
    sluice_put(writer, len, SLUICE_DATA);
    memcpy(writer->ring + (writer->next & (capacity - 1)) + SLUICE_ALIGN, bytes, len);
    writer->next = end;
    writer->number++;
    atomic_store_explicit(&writer->positions->published, end, memory_order_release);
    return 0;
}

#endif
