#include "log/fs_log.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* The same pages twice, back to back: a range that crosses the end goes on in the second copy. */
static int map_mirrored(uint8_t **base, size_t cap) {
  int error, fd = memfd_create("fastsock-log", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  uint8_t *area = MAP_FAILED;
  if (ftruncate(fd, (off_t)cap) < 0) goto fail;
  area = mmap(NULL, 2 * cap, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) goto fail;
  for (int copy = 0; copy < 2; copy++) {
    void *place = area + (size_t)copy * cap;
    if (mmap(place, cap, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
      goto fail;
  }
  close(fd);
  *base = area;
  return 0;
fail:
  error = -errno;
  if (area != MAP_FAILED) munmap(area, 2 * cap);
  close(fd);
  return error;
}

int fs_log_init(fs_log *log, size_t cap) {
  if (cap < (size_t)sysconf(_SC_PAGESIZE) || (cap & (cap - 1)) != 0) return -EINVAL;
  *log = (fs_log){.cap = cap, .index_mask = cap / FS_LOG_BYTES_PER_INDEX - 1};
  /* Message numbers begin at 1, as connection numbers do. */
  log->head_seq = log->tail_seq = 1;
  int result = map_mirrored(&log->base, cap);
  if (result < 0) return result;
  log->index = calloc(log->index_mask + 1, sizeof *log->index);
  if (log->index) return 0;
  munmap(log->base, 2 * cap);
  return -ENOMEM;
}

void fs_log_fini(fs_log *log) {
  munmap(log->base, 2 * log->cap);
  free(log->index);
}

uint8_t *fs_log_reserve(fs_log *log, size_t len) {
  uint64_t head = atomic_load_explicit(&log->head, memory_order_relaxed);
  uint64_t seq = atomic_load_explicit(&log->head_seq, memory_order_relaxed);
  if (head + len - atomic_load(&log->tail) > log->cap) return NULL;
  if (seq - atomic_load(&log->tail_seq) > log->index_mask) return NULL;
  return log->base + (head & (log->cap - 1));
}

uint64_t fs_log_commit(fs_log *log, size_t len) {
  uint64_t head = atomic_load_explicit(&log->head, memory_order_relaxed);
  uint64_t seq = atomic_load_explicit(&log->head_seq, memory_order_relaxed);
  log->index[seq & log->index_mask] = head;
  atomic_store_explicit(&log->head_seq, seq + 1, memory_order_release);
  /* Sequentially consistent, because the publisher then reads whether the reactor sleeps. */
  atomic_store(&log->head, head + len);
  return seq;
}

uint64_t fs_log_seq_at(const fs_log *log, uint64_t offset) {
  /* head_seq before head: a commit in between can only make the answer one too small, which keeps a
   * message longer than needed. */
  uint64_t low = atomic_load(&log->tail_seq), high = atomic_load(&log->head_seq);
  if (offset >= atomic_load(&log->head)) return high;
  while (low + 1 < high) {
    uint64_t middle = low + (high - low) / 2;
    if (log->index[middle & log->index_mask] <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static uint64_t offset_of(const fs_log *log, uint64_t seq) {
  bool committed = seq < atomic_load(&log->head_seq);
  return committed ? log->index[seq & log->index_mask] : atomic_load(&log->head);
}

uint64_t fs_log_boundary_at(const fs_log *log, uint64_t offset) {
  if (offset >= atomic_load(&log->head)) return offset;
  uint64_t seq = fs_log_seq_at(log, offset);
  return log->index[seq & log->index_mask] == offset ? offset : offset_of(log, seq + 1);
}

uint64_t fs_log_newest_half(const fs_log *log) {
  uint64_t head = atomic_load(&log->head), head_seq = atomic_load(&log->head_seq);
  uint64_t tail = atomic_load(&log->tail), tail_seq = atomic_load(&log->tail_seq);
  uint64_t by_bytes = tail, by_count = tail;
  if (head - tail > log->cap / 2) by_bytes = fs_log_boundary_at(log, head - log->cap / 2);
  uint64_t half_count = (log->index_mask + 1) / 2;
  if (head_seq - tail_seq > half_count) by_count = offset_of(log, head_seq - half_count);
  return fs_max(by_bytes, by_count);
}

void fs_log_trim(fs_log *log, uint64_t offset) {
  if (offset <= atomic_load_explicit(&log->tail, memory_order_relaxed)) return;
  FS_ASSERT(offset <= atomic_load(&log->head));
  uint64_t seq = fs_log_seq_at(log, offset);
  atomic_store(&log->tail_seq, seq);
  atomic_store(&log->tail, offset);
}
