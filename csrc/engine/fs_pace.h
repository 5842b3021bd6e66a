/* fs_pace.h: how fast a reader is, and how long it has held others up.
 *
 * Purpose:   tells a slow reader from the rest. A reader's speed is known only from the time in
 *            which it was the limit: from one moment at which its kernel took nothing more to the
 *            next, and from one look that finds much in its kernel's queue to the next. One that
 *            takes all it is given at once may be as fast as it likes.
 * Ownership: a record lies inside its connection.
 * Threading: the reactor's.
 * Limits:    none.
 */
#ifndef FS_PACE_H
#define FS_PACE_H

#include "base/fs_base.h"

/* A reader may hold others up for one part in so many of the time. */
enum { FS_PACE_WINDOW = 10 };

#define FS_PACE_UNKNOWN UINT64_MAX

typedef struct fs_pace {
  uint64_t held_ns, held_until_ns; /* what it held others up, without what time has forgiven */
  uint64_t full_ns, full_bytes;    /* the time in which it was the limit, what it took in it */
  uint64_t aged_ns;
  uint64_t since_ns, since_bytes;   /* it was full then; 0: it has had all since */
  uint64_t queued_ns, queued_bytes; /* its queue was long then, after so many bytes; 0: short */
} fs_pace;

/* Our kernel takes nothing more for it; it has taken so many bytes from that so far. */
void fs_pace_full(fs_pace *pace, uint64_t now_ns, uint64_t taken);

/* It has all that there is for it. The time until then counts, too: what it took at last may be
 * most of it. */
void fs_pace_drained(fs_pace *pace, uint64_t now_ns, uint64_t taken);

static inline bool fs_pace_is_full(const fs_pace *pace) { return pace->since_ns != 0; }

/* A look at one that is not full, and whose kernel's queue is long or not. Two looks that are more
 * than apart_ns apart say nothing of what was in between. */
void fs_pace_look(fs_pace *pace, uint64_t now_ns, uint64_t taken, bool is_long, uint64_t apart_ns);

/* What was long ago counts half as much after each window_ns, but stays known: a reader that is no
 * limit any more has still shown how fast it is. */
void fs_pace_age(fs_pace *pace, uint64_t now_ns, uint64_t window_ns, uint64_t known_ns);

/* Bytes a second, or FS_PACE_UNKNOWN: it was the limit for less than known_ns. */
uint64_t fs_pace_speed(const fs_pace *pace, uint64_t now_ns, uint64_t taken, uint64_t known_ns);

/* Adds a time in which it held others up. It does not begin before the last one ended. */
void fs_pace_hold(fs_pace *pace, uint64_t from_ns, uint64_t until_ns);

#endif
