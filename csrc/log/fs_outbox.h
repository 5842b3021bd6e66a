/* fs_outbox.h: what one connection has still to send.
 *
 * Purpose:   a cursor into the log, and the edits where this connection's stream differs from it:
 *            bytes to skip, and messages of its own to insert.
 * Ownership: the outbox owns its inserted messages until they are sent or dropped.
 * Threading: skip and insert under the reactor's lock, by any thread, before the log's head passes
 *            them; gather and advance by the reactor, under the lock while there are edits.
 * Limits:    queued_bytes (inserted messages and the edits themselves) never exceeds bytes_max, but
 *            for the rest of one message that had begun before a jump: it cannot be refused.
 *
 * Edits lie in a ring in the order of their offsets, which is the order in which they were made,
 * because an edit is always made at the head.
 */
#ifndef FS_OUTBOX_H
#define FS_OUTBOX_H

#include "log/fs_log.h"
#include "wire/fs_codec.h"

struct iovec;

#define FS_OUTBOX_BYTES_MAX ((size_t)1 << 31)

/* More than an outbox counts for one message beside its bytes: its edit and its framing. */
enum { FS_EDIT_BYTES = 64 };

/* A framed message for one connection. */
typedef struct fs_insert {
  size_t len;
  uint64_t lost; /* of a notice: it tells that so many messages are gone; else 0 */
  bool is_rest;  /* of a message that had begun: nothing comes before it */
  uint8_t data[];
} fs_insert;

/* The text that a stream gets in place of lost messages: before, how many, after. */
typedef struct fs_notice {
  const fs_codec *codec;
  fs_slice before, after;
  bool counts; /* else it is before alone */
} fs_notice;

typedef struct fs_edit {
  uint64_t at;       /* where in the log */
  uint64_t serial;   /* rises over the whole reactor, so that drain knows older from newer */
  fs_insert *insert; /* NULL: skip skip_len bytes of the log instead */
  size_t skip_len;
  uint64_t skip_count; /* messages that skip_len covers */
} fs_edit;

_Static_assert(sizeof(fs_edit) + 4 <= FS_EDIT_BYTES, "an edit, and the longest header");

typedef struct fs_outbox {
  fs_log *log;
  _Atomic uint64_t cursor; /* what lies before it is with the kernel */
  _Atomic uint64_t end;    /* the stream ends here; UINT64_MAX while it goes on */
  fs_edit *edits;
  uint32_t first, cap; /* cap is a power of two, 0 without edits: an idle outbox keeps no ring */
  atomic_uint count;
  uint32_t insert_sent;             /* bytes of the first edit's message that are with the kernel */
  uint32_t queued_bytes, bytes_max; /* 32 bits: these records are many */
  uint64_t first_seq;               /* of the first message that the stream might carry */
  uint64_t skipped_count, inserted_count, dropped_count; /* messages that it has passed so */
} fs_outbox;

/* Begins at the head of the log. */
void fs_outbox_init(fs_outbox *box, fs_log *log, uint32_t bytes_max);

/* Drops what is left. */
void fs_outbox_fini(fs_outbox *box);

/* Whether an edit with bytes of its own would be taken now. */
static inline bool fs_outbox_has_room(const fs_outbox *box, size_t bytes) {
  return box->queued_bytes + sizeof(fs_edit) + bytes <= box->bytes_max;
}

/* The len bytes at the log's head, about to be committed, are not for this connection. Adjacent
 * skips merge. FS_EOUTBOX at the limit, -ENOMEM: nothing changed. */
int fs_outbox_skip(fs_outbox *box, size_t len, uint64_t serial);

/* Takes insert over, to be sent after all that the log holds now. Fails as skip does; insert
 * is then still the caller's. */
int fs_outbox_insert(fs_outbox *box, fs_insert *insert, uint64_t serial);

/* Points iov at what comes next, up to max bytes and the log's head or the stream's end. Returns
 * how many of iov are used (0: nothing but skips is left) and *total, their bytes. The ranges stay
 * valid until advance. */
int fs_outbox_gather(const fs_outbox *box, uint64_t head, size_t max, struct iovec *iov,
                     int iov_count, size_t *total);

/* The kernel took len of the gathered bytes. Frees messages that are gone; passes skips. */
void fs_outbox_advance(fs_outbox *box, size_t len);

/* How many bytes are left of the message whose first bytes are with the kernel: 0 at a boundary,
 * where the stream may be left for another. */
size_t fs_outbox_message_rest(const fs_outbox *box);

/* Gives up all messages of the log before offset target, which begins one, but for the rest of a
 * message that has begun and for inserted ones, which stay in order. *lost counts the messages
 * that the peer will not get and would have. With a notice (NULL: none) the stream tells them, and
 * those of a notice that has not gone out, in their place. -ENOMEM: nothing changed. */
int fs_outbox_jump(fs_outbox *box, uint64_t target, const fs_notice *notice, uint64_t *lost);

/* Lets a stream that was to end go on at the log's head. Fails as skip does. */
int fs_outbox_resume(fs_outbox *box, uint64_t serial);

/* Messages that are whole with the kernel: what the cursor passed without the skipped and dropped,
 * and the inserted. */
uint64_t fs_outbox_sent_count(const fs_outbox *box);

/* Whether everything up to head, and every edit of at most this serial, is with the kernel. */
bool fs_outbox_reached(const fs_outbox *box, uint64_t head, uint64_t serial);

#endif
