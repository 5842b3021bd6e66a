/* fs_subscribe.h: the subscriptions of connections to channels.
 *
 * Purpose:   any thread subscribes; the reactor joins. In between, a subscription lies in its
 *            channel's joining list, where it holds the tail and is found, but is not walked.
 * Ownership: a subscription is its connection's.
 * Threading: see each function.
 * Limits:    one subscription a channel and connection.
 */
#ifndef FS_SUBSCRIBE_H
#define FS_SUBSCRIBE_H

#include "engine/fs_state.h"

/* The connection's subscription to a channel, or NULL. Under lock. */
fs_sub *fs_subscribe_find(fs_channel *channel, fs_conn *conn);

/* Ends all streams of the connection at the present heads, if not before. Under lock. */
void fs_subscribe_end_all(fs_reactor *reactor, fs_conn *conn);

/* Takes over the connection's subscriptions that the reactor has not seen yet. Under both locks. */
void fs_subscribe_join(fs_reactor *reactor, fs_conn *conn);

/* Frees a subscription if its stream has ended. Under turn, not under lock. */
void fs_subscribe_reap(fs_reactor *reactor, fs_conn *conn, fs_sub *sub);

#endif
