/* fs_waiter.h: threads that wait for the reactor.
 *
 * Purpose:   what each of them waits for, whether it is so, and telling them; fs_borrow.h has the
 *            turns that they take.
 * Ownership: a waiter is its caller's, and on the reactor's list only while it waits.
 * Threading: any thread; see each function.
 * Limits:    none.
 */
#ifndef FS_WAITER_H
#define FS_WAITER_H

#include "engine/fs_state.h"

/* Whether there is the room that a ROOM waiter waits for: in the log; in the outbox, too. Under
 * lock. */
bool fs_waiter_has_log(fs_reactor *reactor, const fs_wanted_room *room);
bool fs_waiter_has_room(fs_reactor *reactor, const fs_wanted_room *room);

/* Puts the waiter on the list, and takes it off. Not under lock. */
void fs_waiter_enter(fs_reactor *reactor, fs_waiter *waiter);
void fs_waiter_leave(fs_reactor *reactor, fs_waiter *waiter);

/* Tells the waiters that are met; and one of the others, if the turn is free for it to take. Not
 * under lock. */
void fs_waiter_tell(fs_reactor *reactor, bool turn_free);

/* Whether some waiter is of that kind. */
static inline bool fs_waiter_any(const fs_reactor *reactor, fs_wait_kind kind) {
  return atomic_load(&reactor->waiter_counts[kind]) > 0;
}

#endif
