/* fs_route.h: bytes that were received become messages, and those go where they belong.
 *
 * Purpose:   decodes frames, relays and reports them, and keeps what cannot go yet.
 * Ownership: what is kept is in the connection's inbox. Events point into the arena, or into
 *            inboxes that were retired this turn.
 * Threading: under turn, not under lock.
 * Limits:    FS_EVENTS_MAX events in all and turn_share messages of one connection in a turn.
 */
#ifndef FS_ROUTE_H
#define FS_ROUTE_H

#include "engine/fs_state.h"

typedef enum fs_routed {
  FS_ROUTED_ALL,    /* nothing is kept */
  FS_UNFINISHED,    /* the beginning of a frame is kept */
  FS_NO_ROOM,       /* whole frames are kept: no room for them in the log or among the events */
  FS_AWAITS_ANSWER, /* what follows a message that is not relayed is kept until the next turn */
} fs_routed;

/* Whether more of the connection can be routed now. */
static inline bool fs_route_goes_on(int routed) {
  return routed == FS_ROUTED_ALL || routed == FS_UNFINISHED;
}

/* Takes bytes that have just arrived. An fs_routed, or FS_ETOOBIG, FS_EFRAMING, -ENOMEM. */
int fs_route_take(fs_reactor *reactor, fs_conn *conn, const uint8_t *data, size_t len);

/* Routes what the inbox holds. Returns as fs_route_take does. */
int fs_route_kept(fs_reactor *reactor, fs_conn *conn);

/* Whether this turn makes no more events of what the connection says: others have their turn. */
bool fs_route_had_turn(const fs_reactor *reactor);

/* After a turn that has cut some connections short: sets how many messages each may have in the
 * next one, by the time that those took. */
void fs_route_share(fs_reactor *reactor);

#endif
