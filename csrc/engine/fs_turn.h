/* fs_turn.h: one turn of the reactor.
 *
 * Purpose:   waits, then accepts, reads, flushes, applies timers and policies, and reports.
 * Ownership: the thread that holds the turn lock is the reactor.
 * Threading: under turn, not under lock, if not said otherwise.
 * Limits:    per turn those of fs_accept.h, fs_receive.h, fs_route.h and fs_flush.h, so that no
 *            peer can keep the others waiting.
 */
#ifndef FS_TURN_H
#define FS_TURN_H

#include "engine/fs_state.h"

enum { FS_DRIVE_NS = 50000000 }; /* turns without events in a row, then signal handlers may run */

/* Takes the turn if it is free and no driver waits for it; whether it did. */
bool fs_turn_try(fs_reactor *reactor);

/* Gives the turn back, tells waiters, and prepares for another event loop that waits for us.
 * Whether a thread has asked for a flush since the last one began. */
bool fs_turn_end(fs_reactor *reactor);

/* Whether the next turn is to be a driver's: one waits for it; or another event loop waits for the
 * driver, and there are news of which the loop may not hear if another thread polls. */
bool fs_turn_is_drivers(const fs_reactor *reactor);

/* Stops listening and begins to close all connections, if it must. */
void fs_turn_begin_closing(fs_reactor *reactor);

/* Frees what was kept for events that are consumed. */
void fs_turn_tidy(fs_reactor *reactor);

#endif
