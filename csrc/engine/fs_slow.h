/* fs_slow.h: slow consumers meet the policy of their channel.
 *
 * Purpose:   makes room for threads that wait for it, at the cost of the readers in the way.
 * Ownership: none.
 * Threading: under turn, not under lock.
 * Limits:    at most 64 full outboxes a turn; the others follow when these are dealt with.
 */
#ifndef FS_SLOW_H
#define FS_SLOW_H

#include "engine/fs_state.h"

/* Applies the policies where a thread waits for room, and sets deadline_ns to when it must be
 * called again. */
void fs_slow_apply(fs_reactor *reactor);

#endif
