/* How a Linux process gets a channel of the server sluiced, in C: its memory, for sluice_channel.h.
 *
 * C11, header only, with _GNU_SOURCE. The same in Rust is the crate sluice-channels.
 *
 *     struct sluice_connection channel;
 *     if (sluice_connect(&channel, "/run/sluice/telemetry.reader", SLUICE_READER)) return puts(channel.said);
 *     struct sluice_reader reader;
 *     if (sluice_reader_open(&reader, channel.memory, channel.len, SLUICE_PACKETS)) return 1;
 *
 * A writer is the writer for as long as its socket is open. A reader may close its own: the memory stays.
 */
#ifndef SLUICE_CONNECT_H
#define SLUICE_CONNECT_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What a process is to a channel. */
enum sluice_role { SLUICE_READER, SLUICE_WRITER };

enum {
    /* Length of the server's message: a line of text, with a descriptor beside it unless it is a refusal. */
    SLUICE_MESSAGE = 1024
};

struct sluice_connection {
    /* The memory of the channel, which a reader can't write, and its length in bytes. */
    void *memory;
    uint64_t len;
    int socket;
    /* Whether nobody can resize the file. Whoever may write one that is not sealed can cut it, which ends this process
     * by SIGBUS: a channel in a file that virtual machines have is such a one. */
    int is_sealed;
    /* What the server has said. */
    char said[SLUICE_MESSAGE + 1];
};

/* Receives the server's message. Returns its descriptor, or -1. */
static inline int sluice_receive(int socket, char *said) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec into = { said, SLUICE_MESSAGE };
    struct msghdr message = { .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    struct cmsghdr *found = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    int file = -1;
    if (found && found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS &&
        found->cmsg_len == CMSG_LEN(sizeof file))
        memcpy(&file, CMSG_DATA(found), sizeof file);
    return file;
}

/* Connects to the server's socket `path`, and maps the channel. 0; or -1, with the server's reason in `said`, which is
 * empty if there is none: then `errno` has one. */
static inline int sluice_connect(struct sluice_connection *channel, const char *path, enum sluice_role role) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    struct stat stat;
    memset(channel, 0, sizeof *channel);
    if (strlen(path) >= sizeof name.sun_path) return errno = ENAMETOOLONG, -1;
    memcpy(name.sun_path, path, strlen(path));
    channel->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (channel->socket < 0) return -1;
    int file = -1, failed = connect(channel->socket, (struct sockaddr *)&name, sizeof name);
    if (!failed) file = sluice_receive(channel->socket, channel->said);
    if (file >= 0 && !fstat(file, &stat)) {
        int access = role == SLUICE_WRITER ? PROT_READ | PROT_WRITE : PROT_READ;
        int seals = fcntl(file, F_GET_SEALS), wanted = F_SEAL_SHRINK | F_SEAL_GROW;
        void *memory = mmap(NULL, (size_t)stat.st_size, access, MAP_SHARED, file, 0);
        channel->is_sealed = seals >= 0 && (seals & wanted) == wanted;
        channel->memory = memory == MAP_FAILED ? NULL : memory;
        channel->len = (uint64_t)stat.st_size;
    }
    int reason = errno;
    if (file >= 0) close(file);
    if (!channel->memory) close(channel->socket);
    errno = reason;
    return channel->memory ? 0 : -1;
}

/* Gives the channel back. */
static inline void sluice_disconnect(struct sluice_connection *channel) {
    munmap(channel->memory, channel->len);
    close(channel->socket);
}

#endif
