/* fs_borrow.h: turns that threads take for themselves while they wait for something.
 *
 * Purpose:   flush, send an answer, wait for room, drain, wait for connections or for the end,
 *            whether or not another thread drives. The functions are in fs_reactor.h.
 * Ownership: a waiter is its caller's, and on the reactor's list only while it waits.
 * Threading: any thread.
 * Limits:    a borrowed turn does what the waiters on the list need and nothing else: it flushes
 *            and applies the slow policies, accepts if a thread waits for connections, and ends
 *            connections if a thread waits for the end. What arrives stays in the kernel, and what
 *            is to be reported waits in the connections, so no event is kept.
 *
 * The wait protocol. All stores and loads named here are sequentially consistent.
 *
 *   to ask         A thread stores what it asks for (a log's head, asked, flush_wanted,
 *                  turn_wanted, room_wanted, closing, itself in waiters). After that it tries to
 *                  take the turn, or loads asleep; if that is set, it clears it and writes to
 *                  wake_fd.
 *   to sleep       The holder of the turn stores asleep. After that it checks for all that can be
 *                  asked for (fs_state_asked and its own condition) and tells waiters. It waits
 *                  only if it found nothing. After the wait it clears asleep.
 *   to give back   The holder unlocks the turn. After that it tells the waiters whose condition
 *                  holds, and one of the others, which takes the turn. It reads flush_wanted last,
 *                  and takes the turn again if it is free.
 *   to wait        A thread puts its waiter on the list, then checks its condition, then tries to
 *                  take the turn, then sleeps on told. Once told, it repeats that. If it leaves
 *                  instead, it tells the others, since it may have been the one that was to take
 *                  the turn.
 *   to drive       A driver raises turn_wanted before it waits for the turn. While that is raised
 *                  no thread borrows, and one that has borrowed gives back.
 *   to leave       (fs_reactor_catch_up: a driver with events, whose handlers have still to run)
 *                  The driver raises leaving, flushes once, gives the turn back and lowers leaving.
 *                  It does not read flush_wanted any more: a thread that asks for a flush and sees
 *                  leaving raised waits until flush_wanted is lowered, as any waiter does. So
 *                  publishers cannot keep a driver from its events.
 *   to embed       An event loop that watches the descriptor sleeps outside all turns (asleep is
 *                  stored at the end of each). A waiting thread polls the same descriptor, and may
 *                  consume the readiness that was to wake the loop. If the driver's lists have work
 *                  then, it gives the turn back, which writes to wake_fd, and leaves the turn to
 *                  the loop for FS_EMBEDDED_NS.
 *
 * So of two threads one always sees the other. tests/c/steps runs this code in every order of its
 * steps.
 */
#ifndef FS_BORROW_H
#define FS_BORROW_H

/* An event loop that watches the descriptor and has work keeps the turn free for so long. */
enum { FS_EMBEDDED_NS = 10000000 };

#endif
