/* What the engine asks of the kernel (fs_sys.h, fs_poll.h), without a kernel. */
#include "kernel.h"

#include <errno.h>
#include <string.h>

#include "log/fs_log.h"
#include "engine/fs_state.h"

enum { WAKE_FD = 1000, TIMER_FD, POLL_FD, SPARE_FD, FIRST_FD = 2000 };

typedef struct edges {
  bool listen, wake, timer;
} edges;

static struct {
  kernel_peer peers[KERNEL_PEERS_MAX];
  uint64_t tags[KERNEL_PEERS_MAX];
  int accepted, callers; /* peers that were accepted; of all, how many have called */
  edges edges;
  uint64_t now_ns;
} kernel;

kernel_fault kernel_faulty;

void kernel_begin(void) { memset(&kernel, 0, sizeof kernel); }

kernel_peer *kernel_peer_at(int i) { return &kernel.peers[i]; }

void kernel_call(size_t room) {
  kernel.peers[kernel.callers++] = (kernel_peer){.room = room};
  kernel.edges.listen = true;
}

void kernel_takes(int i, size_t bytes) {
  kernel_peer *peer = &kernel.peers[i];
  peer->room += bytes;
  peer->writable |= peer->full;
  peer->full = false;
}

void kernel_says(int i, const char *text) {
  kernel_peer *peer = &kernel.peers[i];
  peer->said = text;
  peer->readable = true;
}

bool kernel_has_news(void) {
  if (kernel.callers > kernel.accepted) return true;
  for (int i = 0; i < kernel.accepted; i++)
    if (kernel.peers[i].said) return true;
  return false;
}

/* ---- fs_poll.h ---- */

void fs_poll_clear(fs_poll *poll) { poll->fd = poll->timer_fd = -1; }

int fs_poll_init(fs_poll *poll) { return poll->fd = POLL_FD; }

void fs_poll_fini(fs_poll *poll) { poll->fd = -1; }

int fs_poll_add(fs_poll *poll, int fd, uint64_t tag) {
  (void)poll;
  if (fd >= FIRST_FD) kernel.tags[fd - FIRST_FD] = tag;
  return 0;
}

void fs_poll_remove(fs_poll *poll, int fd) { (void)poll, (void)fd; }

static bool any_edge(void *unused) {
  (void)unused;
  bool any = kernel.edges.listen || kernel.edges.wake || kernel.edges.timer;
  for (int i = 0; i < kernel.accepted; i++)
    any |= kernel.peers[i].readable || kernel.peers[i].writable;
  return any;
}

static void add(fs_poll *poll, int *count, uint64_t tag, uint32_t what) {
  poll->ready[(*count)++] = (fs_ready){.tag = tag, .what = what};
}

/* No time passes: a wait until some time lasts forever, so no test relies on it. */
int fs_poll_wait(fs_poll *poll, int64_t timeout_ns) {
  int count = 0;
  if (timeout_ns != 0 && !any_edge(NULL)) steps_sleep(any_edge, NULL);
  if (timeout_ns != 0 && steps_over()) return -EINTR;
  /* The reactor's tags for its own descriptors: only that of the listening one is looked at. */
  if (kernel.edges.listen) add(poll, &count, UINT64_MAX - 2, FS_POLL_IN);
  if (kernel.edges.wake) add(poll, &count, UINT64_MAX, FS_POLL_IN);
  for (int i = 0; i < kernel.accepted; i++) {
    kernel_peer *peer = &kernel.peers[i];
    uint32_t what = peer->readable ? FS_POLL_IN : 0;
    if (peer->writable) what |= FS_POLL_OUT;
    if (peer->closed) what |= FS_POLL_HUP;
    if (peer->readable || peer->writable) add(poll, &count, kernel.tags[i], what);
    peer->readable = peer->writable = false;
  }
  kernel.edges = (edges){0};
  return count;
}

void kernel_await_poll(void) {
  if (!any_edge(NULL)) steps_sleep(any_edge, NULL);
}

/* ---- fs_sys.h ---- */

int fs_sys_spare(void) { return SPARE_FD; }

int fs_sys_accept(int listen_fd, fs_addr *peer) {
  (void)listen_fd;
  if (kernel.accepted == kernel.callers) return -EAGAIN;
  *peer = (fs_addr){.len = sizeof peer->any.sa_family};
  peer->any.sa_family = AF_INET;
  return FIRST_FD + kernel.accepted++;
}

size_t fs_sys_queued(int fd) {
  (void)fd;
  return 0;
}

int fs_sys_local_addr(int fd, fs_addr *addr) {
  (void)fd;
  *addr = (fs_addr){.len = sizeof addr->any.sa_family};
  return 0;
}

ssize_t fs_sys_send(int fd, const void *buf, size_t len) {
  kernel_peer *peer = &kernel.peers[fd - FIRST_FD];
  (void)buf;
  size_t takes = fs_min(len, peer->room);
  peer->full = takes < len;
  peer->room -= takes;
  peer->got += takes;
  return len > 0 && takes == 0 ? -EAGAIN : (ssize_t)takes;
}

ssize_t fs_sys_sendv(int fd, struct iovec *iov, int iov_count) {
  ssize_t total = 0;
  for (int i = 0; i < iov_count; i++) {
    ssize_t sent = fs_sys_send(fd, iov[i].iov_base, iov[i].iov_len);
    if (sent < 0) return total ? total : sent;
    total += sent;
    if (sent < (ssize_t)iov[i].iov_len) break;
  }
  return total;
}

ssize_t fs_sys_recv(int fd, void *buf, size_t len) {
  kernel_peer *peer = &kernel.peers[fd - FIRST_FD];
  (void)len;
  if (!peer->said) return peer->closed ? 0 : -EAGAIN;
  size_t said = strlen(peer->said);
  memcpy(buf, peer->said, said);
  peer->said = NULL;
  return (ssize_t)said;
}

size_t fs_sys_unread(int fd) {
  const char *said = kernel.peers[fd - FIRST_FD].said;
  return said ? strlen(said) : 0;
}

/* Its peer reads all there is, and closes, too. */
int fs_sys_shutdown_write(int fd) {
  kernel_peer *peer = &kernel.peers[fd - FIRST_FD];
  peer->closed = peer->readable = true;
  return 0;
}

int fs_sys_reset_on_close(int fd) {
  (void)fd;
  return 0;
}

void fs_sys_close(int fd) { (void)fd; }

int fs_sys_eventfd(void) { return WAKE_FD; }

void fs_sys_notify(int eventfd) {
  (void)eventfd;
  if (kernel_faulty != KERNEL_FORGETS_NOTIFY) kernel.edges.wake = true;
}

int fs_sys_timerfd(void) { return TIMER_FD; }

void fs_sys_timer_set(int timerfd, uint64_t deadline_ns) { (void)timerfd, (void)deadline_ns; }

uint64_t fs_sys_now_ns(void) { return ++kernel.now_ns; }

/* ---- Futexes ---- */

typedef struct sleeper {
  atomic_uint *told;
  bool roused, asleep;
} sleeper;

static sleeper sleepers[STEPS_THREADS_MAX];

static bool is_roused(void *arg) { return ((sleeper *)arg)->roused; }

int fs_sys_await(atomic_uint *told, uint64_t deadline_ns) {
  (void)deadline_ns;
  if (steps_over()) return -EINTR;
  while (atomic_exchange_explicit(told, 0, memory_order_seq_cst) == 0) {
    sleeper *self = sleepers;
    while (self->asleep) self++;
    *self = (sleeper){.told = told, .asleep = true};
    steps_sleep(is_roused, self);
    self->asleep = false;
    if (steps_over()) return -EINTR;
  }
  return 0;
}

void fs_sys_rouse(atomic_uint *told) {
  if (kernel_faulty == KERNEL_FORGETS_ROUSE) return;
  for (int i = 0; i < STEPS_THREADS_MAX; i++)
    if (sleepers[i].asleep && sleepers[i].told == told) sleepers[i].roused = true;
}

/* ---- The engine's, of which a test takes something away ---- */

void __real_fs_waiter_tell(fs_reactor *reactor, bool turn_free);
void __wrap_fs_waiter_tell(fs_reactor *reactor, bool turn_free);

/* As fs_turn.c and fs_borrow.c call it. */
void __wrap_fs_waiter_tell(fs_reactor *reactor, bool turn_free) {
  __real_fs_waiter_tell(reactor, turn_free && kernel_faulty != KERNEL_FORGETS_OFFER);
}

/* ---- What each order needs again ---- */

enum { LARGE_BYTES = 1 << 16, KEPT_MAX = 8 };

int __real_fs_log_init(fs_log *log, size_t cap);
int __wrap_fs_log_init(fs_log *log, size_t cap);
void __wrap_fs_log_fini(fs_log *log);
void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len);
void __real_free(void *block);
void __wrap_free(void *block);

static fs_log kept_logs[KEPT_MAX];
static int kept_log_count;

int __wrap_fs_log_init(fs_log *log, size_t cap) {
  if (kept_log_count == 0) return __real_fs_log_init(log, cap);
  *log = kept_logs[--kept_log_count];
  atomic_init(&log->head, 0);
  atomic_init(&log->tail, 0);
  atomic_init(&log->head_seq, 1);
  atomic_init(&log->tail_seq, 1);
  return 0;
}

void __wrap_fs_log_fini(fs_log *log) { kept_logs[kept_log_count++] = *log; }

static struct {
  void *block;
  size_t len;
  bool used;
} large[KEPT_MAX];

void *__wrap_malloc(size_t len) {
  if (len < LARGE_BYTES) return __real_malloc(len);
  int i = 0;
  while (large[i].block && (large[i].used || large[i].len != len)) i++;
  if (!large[i].block) large[i].block = __real_malloc(len);
  large[i].len = len;
  large[i].used = true;
  return large[i].block;
}

void __wrap_free(void *block) {
  for (int i = 0; i < KEPT_MAX && large[i].block; i++) {
    if (large[i].block != block) continue;
    large[i].used = false;
    return;
  }
  __real_free(block);
}
