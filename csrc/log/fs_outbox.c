#include "log/fs_outbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

enum { FIRST_CAP = 4 };
enum { NUMBER_MAX = 21 }; /* digits of a uint64_t, and a NUL */

static fs_edit *edit_at(const fs_outbox *box, uint32_t i) {
  return &box->edits[(box->first + i) & (box->cap - 1)];
}

static size_t edit_bytes(const fs_edit *edit) {
  return sizeof *edit + (edit->insert ? edit->insert->len : 0);
}

void fs_outbox_init(fs_outbox *box, fs_log *log, uint32_t bytes_max) {
  uint64_t head = atomic_load(&log->head);
  *box = (fs_outbox){.log = log, .bytes_max = bytes_max};
  box->first_seq = atomic_load(&log->head_seq);
  atomic_init(&box->cursor, head);
  atomic_init(&box->end, UINT64_MAX);
}

/* Makes edits the ring; its first edit is at its beginning. */
static void take_edits(fs_outbox *box, fs_edit *edits, uint32_t cap) {
  free(box->edits);
  box->edits = edits;
  box->cap = cap;
  box->first = 0;
}

static void pop_edit(fs_outbox *box) {
  fs_edit *edit = edit_at(box, 0);
  box->queued_bytes -= edit_bytes(edit);
  box->skipped_count += edit->skip_count;
  box->inserted_count += edit->insert != NULL;
  free(edit->insert);
  box->first = (box->first + 1) & (box->cap - 1);
  box->insert_sent = 0;
  if (atomic_fetch_sub(&box->count, 1) == 1) take_edits(box, NULL, 0);
}

void fs_outbox_fini(fs_outbox *box) {
  while (atomic_load(&box->count)) pop_edit(box);
}

static int grow(fs_outbox *box) {
  uint32_t count = atomic_load(&box->count), cap = box->cap ? 2 * box->cap : FIRST_CAP;
  fs_edit *edits = malloc(cap * sizeof *edits);
  if (!edits) return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) edits[i] = *edit_at(box, i);
  take_edits(box, edits, cap);
  return 0;
}

static int push_edit(fs_outbox *box, fs_edit edit) {
  uint32_t count = atomic_load(&box->count);
  if (!fs_outbox_has_room(box, edit.insert ? edit.insert->len : 0)) return FS_EOUTBOX;
  if (count == box->cap) {
    int result = grow(box);
    if (result < 0) return result;
  }
  *edit_at(box, count) = edit;
  box->queued_bytes += edit_bytes(&edit);
  atomic_store(&box->count, count + 1);
  return 0;
}

int fs_outbox_skip(fs_outbox *box, size_t len, uint64_t serial) {
  uint32_t count = atomic_load(&box->count);
  fs_edit *last = count ? edit_at(box, count - 1) : NULL;
  if (last && !last->insert && last->at + last->skip_len == atomic_load(&box->log->head)) {
    last->skip_len += len;
    last->skip_count++;
    last->serial = serial;
    return 0;
  }
  fs_edit edit = {.serial = serial, .skip_len = len, .skip_count = 1};
  edit.at = atomic_load(&box->log->head);
  return push_edit(box, edit);
}

int fs_outbox_insert(fs_outbox *box, fs_insert *insert, uint64_t serial) {
  uint64_t head = atomic_load(&box->log->head);
  return push_edit(box, (fs_edit){.at = head, .serial = serial, .insert = insert});
}

int fs_outbox_resume(fs_outbox *box, uint64_t serial) {
  uint64_t end = atomic_load(&box->end), head = atomic_load(&box->log->head);
  if (end < head) {
    fs_edit edit = {.at = end, .serial = serial, .skip_len = (size_t)(head - end)};
    edit.skip_count = atomic_load(&box->log->head_seq) - fs_log_seq_at(box->log, end);
    int result = push_edit(box, edit);
    if (result < 0) return result;
  }
  /* After the edit, so that a thread that reads the new end sees the edit. */
  atomic_store(&box->end, UINT64_MAX);
  return 0;
}

/* The ranges of one gather: how far it may go, and where the next range goes. */
typedef struct gathering {
  struct iovec *iov;
  int used, count;
  size_t total, max;
} gathering;

/* Adds a range, or as much of it as max allows; false when no more will fit. */
static bool add_range(gathering *g, const uint8_t *data, size_t len) {
  size_t fits = fs_min(len, g->max - g->total);
  if (fits == 0) return len == 0;
  if (g->used == g->count) return false;
  g->iov[g->used++] = (struct iovec){.iov_base = (void *)data, .iov_len = fits};
  g->total += fits;
  return fits == len;
}

int fs_outbox_gather(const fs_outbox *box, uint64_t head, size_t max, struct iovec *iov,
                     int iov_count, size_t *total) {
  uint32_t count = atomic_load(&box->count);
  uint64_t pos = box->cursor, limit = fs_min(head, box->end);
  gathering g = {.iov = iov, .count = iov_count, .max = max};
  bool fits = true;
  for (uint32_t i = 0; i < count && fits; i++) {
    const fs_edit *edit = edit_at(box, i);
    if (edit->at > limit) break;
    fits = add_range(&g, fs_log_at(box->log, pos), (size_t)(edit->at - pos));
    if (!fits) break;
    pos = edit->at + edit->skip_len;
    if (!edit->insert) continue;
    size_t sent = i == 0 ? box->insert_sent : 0;
    fits = add_range(&g, edit->insert->data + sent, edit->insert->len - sent);
  }
  if (fits && pos < limit) add_range(&g, fs_log_at(box->log, pos), (size_t)(limit - pos));
  *total = g.total;
  return g.used;
}

void fs_outbox_advance(fs_outbox *box, size_t len) {
  for (;;) {
    const fs_edit *edit = atomic_load(&box->count) ? edit_at(box, 0) : NULL;
    size_t log_len = edit ? fs_min(len, (size_t)(edit->at - box->cursor)) : len;
    box->cursor += log_len;
    len -= log_len;
    if (!edit || box->cursor < edit->at) break;
    if (edit->insert) {
      size_t taken = fs_min(len, edit->insert->len - box->insert_sent);
      box->insert_sent += taken;
      len -= taken;
      if (box->insert_sent < edit->insert->len) break;
    }
    box->cursor += edit->skip_len;
    pop_edit(box);
  }
  FS_ASSERT(len == 0 && box->cursor <= atomic_load(&box->log->head));
}

bool fs_outbox_reached(const fs_outbox *box, uint64_t head, uint64_t serial) {
  if (box->cursor < fs_min(head, box->end)) return false;
  return atomic_load(&box->count) == 0 || edit_at(box, 0)->serial > serial;
}

uint64_t fs_outbox_sent_count(const fs_outbox *box) {
  uint64_t passed = fs_log_seq_at(box->log, box->cursor) - box->first_seq;
  return passed - box->skipped_count - box->dropped_count + box->inserted_count;
}

/* ---- Dropping the oldest ---- */

size_t fs_outbox_message_rest(const fs_outbox *box) {
  if (box->insert_sent) return edit_at(box, 0)->insert->len - box->insert_sent;
  return (size_t)(fs_log_boundary_at(box->log, box->cursor) - box->cursor);
}

/* Moves an edit when the cursor jumps to target. False: nothing is left of it. */
static bool carry_over(fs_outbox *box, fs_edit *edit, uint64_t target, uint64_t *skipped) {
  if (edit->insert) {
    edit->at = fs_max(edit->at, target);
    return true;
  }
  uint64_t skip_end = edit->at + edit->skip_len, passed = 0;
  if (skip_end <= target) {
    passed = edit->skip_count;
  } else if (edit->at < target) {
    passed = fs_log_seq_at(box->log, target) - fs_log_seq_at(box->log, edit->at);
    edit->at = target;
    edit->skip_len = (size_t)(skip_end - target);
    edit->skip_count -= passed;
  }
  *skipped += passed;
  return skip_end > target;
}

/* Copies the rest of the message that has begun into one of the connection's own. NULL: no memory.
 */
static fs_insert *copy_rest(const fs_outbox *box, size_t rest) {
  fs_insert *insert = malloc(sizeof *insert + rest);
  if (!insert) return NULL;
  *insert = (fs_insert){.len = rest, .is_rest = true};
  memcpy(insert->data, fs_log_at(box->log, box->cursor), rest);
  return insert;
}

/* Allocates a notice: room for its text, then for its frame. NULL: no memory. */
static fs_insert *begin_notice(const fs_notice *notice) {
  size_t text_max = notice->before.len + NUMBER_MAX + notice->after.len;
  return malloc(sizeof(fs_insert) + 2 * text_max + notice->codec->header_len);
}

static void write_notice(fs_insert *insert, const fs_notice *notice, uint64_t lost) {
  size_t text_max = notice->before.len + NUMBER_MAX + notice->after.len, len = notice->before.len;
  uint8_t *text = insert->data + text_max + notice->codec->header_len;
  memcpy(text, notice->before.data, len);
  if (notice->counts) {
    len += (size_t)snprintf((char *)text + len, NUMBER_MAX, "%" PRIu64, lost);
    memcpy(text + len, notice->after.data, notice->after.len);
    len += notice->after.len;
  }
  *insert = (fs_insert){.lost = lost};
  insert->len = (size_t)notice->codec->measure(text, len);
  notice->codec->encode(insert->data, insert->len, text);
}

static bool is_rest(const fs_edit *edit) { return edit->insert && edit->insert->is_rest; }

/* Whether an edit is a notice of which nothing has gone out: a new one tells its messages, too. */
static bool is_unsaid(const fs_outbox *box, uint32_t i) {
  const fs_insert *insert = edit_at(box, i)->insert;
  return insert && insert->lost && (i > 0 || box->insert_sent == 0);
}

int fs_outbox_jump(fs_outbox *box, uint64_t target, const fs_notice *notice, uint64_t *lost) {
  uint32_t count = atomic_load(&box->count), kept = 0, cap = box->cap ? box->cap : FIRST_CAP;
  size_t rest = box->insert_sent ? 0 : fs_outbox_message_rest(box);
  uint64_t from = box->cursor + rest, skipped = 0, unsaid = 0;
  *lost = 0;
  if (from >= target) return 0;
  while (count + 2 > cap) cap *= 2;
  fs_edit *edits = malloc(cap * sizeof *edits);
  fs_insert *insert = rest ? copy_rest(box, rest) : NULL;
  fs_insert *told = notice ? begin_notice(notice) : NULL;
  if (!edits || (rest && !insert) || (notice && !told)) {
    free(edits);
    free(insert);
    free(told);
    return -ENOMEM;
  }
  box->queued_bytes = 0;
  if (insert) edits[kept++] = (fs_edit){.at = target, .insert = insert};
  /* After what has begun. Its text is written below, when the count is known. */
  uint32_t place = kept;
  if (count && (box->insert_sent || is_rest(edit_at(box, 0)))) place = 1;
  for (uint32_t i = 0; i < count; i++) {
    fs_edit edit = *edit_at(box, i);
    if (told && kept == place) edits[kept++] = (fs_edit){.at = target, .insert = told};
    if (told && is_unsaid(box, i)) {
      unsaid += edit.insert->lost;
      free(edit.insert);
      continue;
    }
    if (carry_over(box, &edit, target, &skipped)) edits[kept++] = edit;
  }
  if (told && kept == place) edits[kept++] = (fs_edit){.at = target, .insert = told};
  *lost = fs_log_seq_at(box->log, target) - fs_log_seq_at(box->log, from) - skipped;
  if (told && unsaid + *lost == 0) {
    memmove(&edits[place], &edits[place + 1], (--kept - place) * sizeof *edits);
    free(told);
  } else if (told) {
    write_notice(told, notice, unsaid + *lost);
  }
  for (uint32_t i = 0; i < kept; i++) box->queued_bytes += edit_bytes(&edits[i]);
  box->dropped_count += *lost;
  /* The begun message is passed by the cursor and will be counted as inserted. */
  box->skipped_count += skipped + (insert != NULL);
  take_edits(box, edits, cap);
  if (kept == 0) take_edits(box, NULL, 0);
  atomic_store(&box->cursor, target);
  atomic_store(&box->count, kept);
  return 0;
}
