/* steps.h: runs a few threads in every order of their steps.
 *
 * Purpose:   finds the one order in a million in which a wake-up is lost. The engine is compiled
 *            with this header before all others: each lock, and each atomic access to a watched
 *            place, becomes a step, and between two steps another thread may run.
 * Ownership: a thread is a coroutine on a stack that is used again; one runs at a time.
 * Threading: none: all of it happens in one thread of the kernel. A mutex is taken for real, so
 *            that ThreadSanitizer, which is told of the coroutines, sees what it guards.
 * Limits:    STEPS_THREADS_MAX threads; at most a given number of preemptions, which is where a
 *            thread that could go on does not; STEPS_MAX steps in one order.
 */
#ifndef STEPS_H
#define STEPS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STEPS_THREADS_MAX = 3, STEPS_MAX = 4000 };

/* One situation: what is there, threads, and what must be so when none of them can go on. */
typedef struct steps_scene {
  const char *name;
  void (*set_up)(void);
  void (*threads[STEPS_THREADS_MAX])(void); /* the first NULL ends them */
  bool (*fine)(void);
  void (*tear_down)(void); /* after all threads have ended: see steps_over */
} steps_scene;

/* Runs the scene in every order with at most so many preemptions. How many orders there were; 0:
 * in one of them the scene was not fine, or did not end. told: say in which. */
size_t steps_explore(const steps_scene *scene, int preemptions_max, bool told);

/* A step is what touches len bytes from place on; for set_up. */
void steps_watch(const volatile void *place, size_t len);

/* What is stored there is lost, as if the line were not in the program; NULL: nowhere. */
extern const volatile void *steps_lost;

/* Another thread may run now, if this is a watched place. Whether a store is not to be lost. */
bool steps_at(const volatile void *place);

/* The thread sleeps until ready(arg). */
void steps_sleep(bool (*ready)(void *arg), void *arg);

/* No thread can go on any more: what would sleep ends with -EINTR instead, and threads end. */
bool steps_over(void);

/* Whether the thread of that index has come to its end by itself. */
bool steps_ended(int thread);

int steps_lock(pthread_mutex_t *mutex);
int steps_trylock(pthread_mutex_t *mutex);
int steps_unlock(pthread_mutex_t *mutex);

#ifndef STEPS_THEMSELVES

#define pthread_mutex_lock steps_lock
#define pthread_mutex_trylock steps_trylock
#define pthread_mutex_unlock steps_unlock

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#define STEPS_LOAD(place) atomic_load_explicit(place, memory_order_seq_cst)
#define atomic_load(place) (steps_at(place), STEPS_LOAD(place))
#define atomic_store(place, value) \
  (steps_at(place) ? atomic_store_explicit(place, value, memory_order_seq_cst) : (void)0)
#define atomic_exchange(place, value) \
  (steps_at(place), atomic_exchange_explicit(place, value, memory_order_seq_cst))
#define atomic_fetch_add(place, by) \
  (steps_at(place) ? atomic_fetch_add_explicit(place, by, memory_order_seq_cst) : STEPS_LOAD(place))
#define atomic_fetch_sub(place, by) \
  (steps_at(place) ? atomic_fetch_sub_explicit(place, by, memory_order_seq_cst) : STEPS_LOAD(place))

#endif
#endif
