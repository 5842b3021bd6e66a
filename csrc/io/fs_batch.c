#include "io/fs_batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/un.h>

size_t fs_send_each(const int32_t *fds, size_t first, size_t count, const struct iovec *iov,
                    size_t iov_step, int flags, int64_t *results) {
  for (size_t i = first; i < count; i++) {
    const struct iovec *data = iov + i * iov_step;
    ssize_t sent = send(fds[i], data->iov_base, data->iov_len, flags);
    if (sent < 0 && errno == EINTR) return i;
    results[i] = sent < 0 ? -errno : sent;
  }
  return count;
}

size_t fs_recv_each(const int32_t *fds, size_t first, size_t count, const struct iovec *iov,
                    int flags, int64_t *results) {
  for (size_t i = first; i < count; i++) {
    ssize_t received = recv(fds[i], iov[i].iov_base, iov[i].iov_len, flags);
    if (received < 0 && errno == EINTR) return i;
    results[i] = received < 0 ? -errno : received;
  }
  return count;
}

/* The length of the sockaddr in a row. A UNIX name ends at its first NUL after the byte that marks
 * an abstract one. */
static socklen_t name_len(const unsigned char *row, size_t row_len) {
  sa_family_t family;
  size_t len = row_len;
  if (row_len < sizeof family) return (socklen_t)row_len;
  memcpy(&family, row, sizeof family);
  if (family == AF_UNSPEC) len = 0;
  if (family == AF_INET) len = sizeof(struct sockaddr_in);
  if (family == AF_INET6) len = sizeof(struct sockaddr_in6);
  if (family == AF_UNIX) {
    const size_t path = offsetof(struct sockaddr_un, sun_path);
    const bool abstract = row_len > path && row[path] == 0;
    if (row_len > path) len = path + 1 + strnlen((const char *)row + path + 1, row_len - path - 1);
    len += !abstract; /* the NUL that ends a path belongs to it */
  }
  return (socklen_t)fs_min(len, row_len);
}

ssize_t fs_send_datagrams(int fd, const struct iovec *iov, size_t count, fs_names names,
                          int flags) {
  struct mmsghdr piece[FS_BATCH_PIECE];
  size_t done = 0;
  while (done < count) {
    const size_t len = fs_min(count - done, (size_t)FS_BATCH_PIECE);
    for (size_t i = 0; i < len; i++) {
      struct msghdr *message = &piece[i].msg_hdr;
      *message = (struct msghdr){.msg_iov = (struct iovec *)iov + done + i, .msg_iovlen = 1};
      if (names.rows == NULL) continue;
      message->msg_name = names.rows + (done + i) * names.step;
      message->msg_namelen =
          names.step == 0 ? (socklen_t)names.row_len : name_len(message->msg_name, names.row_len);
    }
    int sent = sendmmsg(fd, piece, (unsigned)len, flags);
    if (sent < 0) return done > 0 ? (ssize_t)done : -errno;
    done += (size_t)sent;
    if ((size_t)sent < len) break;
  }
  return (ssize_t)done;
}

/* The datagrams that UDP_GRO joined have this size each; 0 when the control data does not say. */
static int64_t segment_len(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
    int len;
    memcpy(&len, CMSG_DATA(c), sizeof len);
    return len;
  }
  return 0;
}

typedef union control {
  struct cmsghdr header;
  unsigned char bytes[CMSG_SPACE(sizeof(int))];
} control;

ssize_t fs_recv_datagrams(int fd, const struct iovec *iov, size_t count, int64_t *lengths,
                          fs_names names, int64_t *segments, int flags) {
  struct mmsghdr piece[FS_BATCH_PIECE];
  control controls[FS_BATCH_PIECE];
  size_t done = 0;
  while (done < count) {
    const size_t len = fs_min(count - done, (size_t)FS_BATCH_PIECE);
    for (size_t i = 0; i < len; i++)
      piece[i].msg_hdr = (struct msghdr){
          .msg_iov = (struct iovec *)iov + done + i,
          .msg_iovlen = 1,
          .msg_name = names.rows == NULL ? NULL : names.rows + (done + i) * names.step,
          .msg_namelen = names.rows == NULL ? 0 : (socklen_t)names.row_len,
          .msg_control = segments == NULL ? NULL : &controls[i],
          .msg_controllen = segments == NULL ? 0 : sizeof(control),
      };
    int received = recvmmsg(fd, piece, (unsigned)len, flags, NULL);
    if (received < 0) return done > 0 ? (ssize_t)done : -errno;
    for (size_t i = 0; i < (size_t)received; i++) {
      struct msghdr *message = &piece[i].msg_hdr;
      lengths[done + i] = piece[i].msg_len;
      if (segments != NULL) segments[done + i] = segment_len(message);
      if (message->msg_name != NULL && message->msg_namelen < names.row_len)
        memset((char *)message->msg_name + message->msg_namelen, 0,
               names.row_len - message->msg_namelen);
    }
    done += (size_t)received;
    if ((size_t)received < len) break;
    /* The first piece has waited for one datagram; the next takes what is there. */
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
  }
  return (ssize_t)done;
}
