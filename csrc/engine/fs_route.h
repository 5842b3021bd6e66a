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

/* Takes bytes that have just arrived. FS_ETOOBIG, FS_EFRAMING, -ENOMEM. */
int fs_route_take(fs_reactor *reactor, fs_conn *conn, const uint8_t *data, size_t len);

/* Routes what the inbox holds. Fails as take does. */
int fs_route_kept(fs_reactor *reactor, fs_conn *conn);

/* Whether this turn makes no more events of what the connection says: others have their turn. */
bool fs_route_had_turn(const fs_reactor *reactor);

/* After a turn that has cut some connections short: sets how many messages each may have in the
 * next one, by the time that those took. */
void fs_route_share(fs_reactor *reactor);

#endif
