/* fs_idle.h: the timers of connections.
 *
 * Purpose:   ends connections that linger or are idle for too long, and sends heartbeats.
 * Ownership: none.
 * Threading: under turn, not under lock.
 * Limits:    as late as fs_timer.h says.
 */
#ifndef FS_IDLE_H
#define FS_IDLE_H

#include "engine/fs_state.h"

/* Sets the timer of idle_timeout and heartbeat, if there is one. */
void fs_idle_watch(fs_reactor *reactor, fs_conn *conn);

/* Does what the timers that are due call for. */
void fs_idle_expire(fs_reactor *reactor);

#endif
