/* kernel.h: the kernel of a scene, in memory: peers that take what a scene lets them take.
 *
 * Purpose:   the same answers in each order of steps, and no time.
 * Ownership: static; kernel_begin makes it new.
 * Threading: between two steps.
 * Limits:    KERNEL_PEERS_MAX peers.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include "base/fs_base.h"
#include "steps.h"

enum { KERNEL_PEERS_MAX = 4 };

typedef struct kernel_peer {
  size_t room, got;                /* bytes that it still takes; that it has got */
  const char *said;                /* not read yet */
  bool full;                       /* a send took less than it was given */
  bool readable, writable, closed; /* the first two: to be told by the next poll */
} kernel_peer;

/* What a test takes away: from the kernel, or from the end of a turn. */
typedef enum kernel_fault {
  KERNEL_WORKS,
  KERNEL_FORGETS_NOTIFY,
  KERNEL_FORGETS_ROUSE,
  KERNEL_FORGETS_OFFER,
} kernel_fault;
extern kernel_fault kernel_faulty;

void kernel_begin(void);
kernel_peer *kernel_peer_at(int i);

/* A peer calls, whose connection takes so many bytes. */
void kernel_call(size_t room);

/* The peer has read so much. */
void kernel_takes(int i, size_t bytes);
void kernel_says(int i, const char *text);

/* Whether a peer has called or said something that was not accepted or read. */
bool kernel_has_news(void);

/* As another event loop sleeps for us. */
void kernel_await_poll(void);

#endif
