/* fs_borrow.h: turns that are taken by those who wait for something.
 *
 * Purpose:   flush, wait for room, drain, wait for connections or for the end, whoever drives.
 * Ownership: a waiter is its caller's, and on the reactor's list only while it waits.
 * Threading: any thread.
 * Limits:    a borrowed turn does what those on the list of waiters need and nothing else: it
 *            flushes and applies the slow policies, accepts if somebody waits for connections, and
 *            ends connections if somebody waits for the end. What arrives stays in the kernel, and
 *            what is to be reported waits in the connections: so no event is kept.
 *
 * The wait protocol. All stores and loads named here are sequentially consistent.
 *
 *   who asks       stores what it asks for (a log's head, asked, flush_wanted, turn_wanted,
 *                  room_wanted, closing, itself in waiters), and after that tries to take the turn,
 *                  or loads asleep; if that is set it clears it and writes to wake_fd.
 *   who has the    stores asleep, and after that looks for all that can be asked for
 *   turn, sleeps   (fs_reactor_asked and its own condition) and tells waiters. It waits only if it
 *                  found nothing. After the wait it clears asleep.
 *   who gives the  unlocks it, and after that tells waiters: those whose condition holds, and one
 *   turn back      of the others, which takes the turn. It looks at flush_wanted last, and takes
 *                  the turn again if it is free.
 *   who waits      is on the list first, then looks at its condition, then tries to take the turn,
 *                  then sleeps on told. Told, it does that again; if it leaves instead, it tells
 *                  the others, since it may have been the one that was to take the turn.
 *   a driver       raises turn_wanted before it waits for the turn. While that is raised nobody
 *                  borrows, and who has borrowed gives back.
 *   who leaves     (fs_reactor_catch_up: a driver with events, whose handlers have still to run)
 *                  raises leaving, flushes once, gives the turn back and lowers it. It looks at
 *                  flush_wanted no more: who asks for a flush and sees leaving raised waits until
 *                  flush_wanted is lowered, as any waiter does. So publishers cannot keep a driver
 *                  from its events.
 *   an event loop  that watches the descriptor sleeps outside all turns (asleep is stored at the
 *                  end of each). Who waits polls the same descriptor, and may take the readiness
 *                  that was to wake the loop: with a driver's work in its lists it gives the turn
 *                  back, which writes to wake_fd, and leaves the turn to the loop for a while.
 *
 * So one of two always sees the other. tests/c/steps runs this code in every order of its steps.
 */
#ifndef FS_BORROW_H
#define FS_BORROW_H

/* An event loop that watches the descriptor and has work keeps the turn free for so long. */
enum { FS_EMBEDDED_NS = 10000000 };

#endif
