/* fault.h: makes the n-th call of a function fail.
 *
 * Purpose:   every failure path of an allocation or a system call, taken once.
 * Ownership: none.
 * Threading: a plan is its thread's own.
 * Limits:    the functions of FAULT_CALLS, wrapped by the linker (--wrap, see the Makefile).
 *
 * A plan counts calls only between fault_on and fault_off, so that those of the test itself do
 * not count.
 */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
#define FAULT_CALLS(X) \
  X(malloc) X(calloc) X(realloc) X(memfd_create) X(ftruncate) X(mmap) X(epoll_create1) \
  X(epoll_ctl) X(epoll_pwait2) X(eventfd) X(timerfd_create) X(socket) X(setsockopt) X(accept4) \
  X(send) X(sendmsg) X(recv) X(shutdown)
/* clang-format on */

#define FAULT_ID(call) FAULT_##call,
typedef enum fault_call { FAULT_CALLS(FAULT_ID) FAULT_COUNT } fault_call;

extern const char *const fault_names[FAULT_COUNT];

/* From the nth call on, counted from 1, times calls fail with errno error. */
void fault_plan(fault_call call, int nth, int times, int error);
void fault_on(void);
void fault_off(void);

/* How many calls the plan has made fail. */
int fault_hits(void);

/* For sends: the most bytes that this call may take; 0: it would block. len: as it comes. */
extern size_t (*fault_send_limit)(int fd, size_t len);

/* Called in the middle of the writes that wake a thread, by any thread. */
extern void (*fault_before_write)(int fd);

#endif
