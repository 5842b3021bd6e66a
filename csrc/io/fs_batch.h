/* fs_batch.h: one call that moves bytes for many descriptors or many datagrams.
 *
 * Purpose:   the loops of the batch calls, run without the interpreter between two system calls.
 * Ownership: everything is the caller's; nothing is kept after the call.
 * Threading: safe from any thread.
 * Limits:    none; long batches of datagrams go to the kernel in pieces of FS_BATCH_PIECE.
 *
 * Nothing here retries EINTR: the caller runs its signal handlers and goes on.
 */
#ifndef FS_BATCH_H
#define FS_BATCH_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fs_base.h"

/* Datagrams in one system call: what fits the stack, and enough to make its cost disappear. */
enum { FS_BATCH_PIECE = 128 };

/* Socket addresses in an array of rows, each a sockaddr padded with zeros to row_len bytes. A step
 * of 0 gives every datagram the first row; rows of NULL means no addresses. */
typedef struct fs_names {
  unsigned char *rows;
  size_t row_len;
  size_t step;
} fs_names;

/* Sends iov[i * iov_step] to fds[i] for every i from first on; results[i] is bytes or -errno.
 * Returns count, or the index of the call that a signal interrupted: nothing moved there and
 * results from there on are unchanged. */
size_t fs_send_each(const int32_t *fds, size_t first, size_t count, const struct iovec *iov,
                    size_t iov_step, int flags, int64_t *results);

/* Receives from fds[i] into iov[i], as fs_send_each; 0 bytes is the end of the stream. */
size_t fs_recv_each(const int32_t *fds, size_t first, size_t count, const struct iovec *iov,
                    int flags, int64_t *results);

/* Sends iov[0..count) as one datagram each. Returns how many the kernel took, or -errno when it
 * took none. */
ssize_t fs_send_datagrams(int fd, const struct iovec *iov, size_t count, fs_names names, int flags);

/* Receives one datagram into each of iov[0..count) as recvmmsg(2) does; names, when it has rows,
 * receives the senders, and segments, when not NULL, the size of the datagrams that the kernel
 * joined (UDP_GRO) or 0. Returns how many came, or -errno when none did; the entries of what did
 * not come are unchanged or zero. */
ssize_t fs_recv_datagrams(int fd, const struct iovec *iov, size_t count, int64_t *lengths,
                          fs_names names, int64_t *segments, int flags);

#endif
