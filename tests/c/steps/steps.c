/* The orders are a tree, which is walked depth first: an order is run from the beginning, along the
 * choices of the last one up to the deepest that can be made otherwise. */
#include "steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

/* ThreadSanitizer is told of the coroutines, and this file is not instrumented: so they are threads
 * to it, which synchronize by nothing that is done here, but with the outside. */
#ifdef STEPS_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *place);
void __tsan_release(void *place);
enum { NO_SYNC = 1 };
#endif

enum { STACK_BYTES = 1 << 17, WATCHED_MAX = 16 };

typedef struct thread {
  ucontext_t context;
  void *fiber;
  void (*run)(void);
  bool (*ready)(void *arg); /* NULL: it can go on */
  void *arg;
  bool ended, over_first; /* ended; and only since it was over */
} thread;

/* One point at which there was more than one thread to run. */
typedef struct choice {
  uint8_t made, options;
  bool preempts; /* every option but the first is a preemption */
} choice;

static struct {
  thread threads[STEPS_THREADS_MAX];
  int count;
  thread *current; /* NULL: none; set_up, fine or tear_down runs */
  ucontext_t outside;
  void *outside_fiber;
  bool over;
  int steps;
  choice choices[STEPS_MAX];
  int made, known; /* choices of this order; of those, how many are given */
} now;

static struct {
  const volatile char *from;
  size_t len;
} watched[WATCHED_MAX];
static int watched_count;

const volatile void *steps_lost;

static uint8_t *stacks[STEPS_THREADS_MAX];

bool steps_over(void) { return now.over; }

bool steps_ended(int i) { return now.threads[i].ended && !now.threads[i].over_first; }

void steps_watch(const volatile void *place, size_t len) {
  watched[watched_count].from = place;
  watched[watched_count++].len = len;
}

static bool is_watched(const volatile void *place) {
  const volatile char *at = place;
  for (int i = 0; i < watched_count; i++)
    if (at >= watched[i].from && at < watched[i].from + watched[i].len) return true;
  return false;
}

/* ---- Which thread runs next ---- */

static bool can_run(thread *t) { return !t->ended && (!t->ready || now.over || t->ready(t->arg)); }

/* This one first, if it can go on; then the others. */
static int options(thread **option) {
  int count = 0;
  if (now.current && can_run(now.current)) option[count++] = now.current;
  for (int i = 0; i < now.count; i++)
    if (&now.threads[i] != now.current && can_run(&now.threads[i]))
      option[count++] = &now.threads[i];
  return count;
}

/* NULL: no thread can go on. */
static thread *choose(void) {
  thread *option[STEPS_THREADS_MAX];
  int count = options(option);
  if (count == 0) return NULL;
  if (count == 1 || now.over || now.made == STEPS_MAX) return option[0];
  choice *made = &now.choices[now.made++];
  if (now.made > now.known) *made = (choice){.made = 0};
  made->options = (uint8_t)count;
  made->preempts = option[0] == now.current;
  return option[made->made];
}

static void switch_to(ucontext_t *from, thread *to) {
  now.current = to;
#ifdef STEPS_TSAN
  /* The outside has seen all that threads did; they have seen what it did before they ran. */
  bool outside = from == &now.outside;
  if (!outside) __tsan_release(&now.outside);
  __tsan_switch_to_fiber(to ? to->fiber : now.outside_fiber, outside ? 0 : NO_SYNC);
#endif
  swapcontext(from, to ? &to->context : &now.outside);
#ifdef STEPS_TSAN
  if (outside) __tsan_acquire(&now.outside);
#endif
}

/* The running thread lets another one run, or goes on. */
static void let_run(void) {
  thread *self = now.current, *next = ++now.steps > STEPS_MAX && !now.over ? NULL : choose();
  if (next != self) switch_to(&self->context, next);
}

bool steps_at(const volatile void *place) {
  if (now.current && is_watched(place)) let_run();
  return place != steps_lost;
}

void steps_sleep(bool (*ready)(void *), void *arg) {
  thread *self = now.current;
  self->ready = ready;
  self->arg = arg;
  let_run();
  self->ready = NULL;
}

/* ---- Mutexes ---- */

/* Looked at in the mutex itself, which no thread of the kernel contends for. */
static bool is_unlocked(void *mutex) { return ((pthread_mutex_t *)mutex)->__data.__lock == 0; }

int steps_lock(pthread_mutex_t *mutex) {
  if (now.current) steps_sleep(is_unlocked, mutex);
  return pthread_mutex_lock(mutex);
}

int steps_trylock(pthread_mutex_t *mutex) {
  if (now.current) let_run();
  return pthread_mutex_trylock(mutex);
}

int steps_unlock(pthread_mutex_t *mutex) { return pthread_mutex_unlock(mutex); }

/* ---- One order ---- */

static void run_thread(void) {
  thread *self = now.current;
#ifdef STEPS_TSAN
  __tsan_acquire(&now.threads);
#endif
  self->run();
  self->ended = true;
  self->over_first = now.over;
  switch_to(&self->context, NULL);
}

static void start_threads(const steps_scene *scene) {
  now.count = 0;
  while (now.count < STEPS_THREADS_MAX && scene->threads[now.count]) {
    int i = now.count++;
    if (!stacks[i]) stacks[i] = malloc(STACK_BYTES);
    thread *t = &now.threads[i];
    *t = (thread){.run = scene->threads[i], .fiber = t->fiber};
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = stacks[i];
    t->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&t->context, run_thread, 0);
#ifdef STEPS_TSAN
    if (!t->fiber) t->fiber = __tsan_create_fiber(0);
#endif
  }
#ifdef STEPS_TSAN
  __tsan_release(&now.threads);
#endif
}

/* Until no thread can go on; whether that was soon enough. */
static bool run_until_still(void) {
  thread *next;
  while ((now.steps <= STEPS_MAX || now.over) && (next = choose())) switch_to(&now.outside, next);
  return now.steps <= STEPS_MAX;
}

static bool run_order(const steps_scene *scene) {
  now.made = now.steps = 0;
  now.over = false;
  watched_count = 0;
  scene->set_up();
  start_threads(scene);
#ifdef STEPS_TSAN
  now.outside_fiber = __tsan_get_current_fiber();
#endif
  bool fine = run_until_still() && scene->fine();
  now.over = true;
  (void)run_until_still();
  scene->tear_down();
  return fine;
}

/* ---- All orders ---- */

/* Makes the deepest choice that can be made otherwise, otherwise; false: there is none. */
static bool next_order(int preemptions_max) {
  int spent = 0, deepest = -1;
  for (int i = 0; i < now.made; i++) {
    const choice *c = &now.choices[i];
    int before = spent;
    spent += c->preempts && c->made > 0;
    if (c->made + 1 < c->options && (!c->preempts || before < preemptions_max)) deepest = i;
  }
  if (deepest < 0) return false;
  now.choices[deepest].made++;
  now.known = deepest + 1;
  return true;
}

static void tell(const steps_scene *scene) {
  fprintf(stderr, "%s: not fine after %d steps; the choices:", scene->name, now.steps);
  for (int i = 0; i < now.made; i++) fprintf(stderr, " %d", now.choices[i].made);
  fprintf(stderr, "\n");
}

size_t steps_explore(const steps_scene *scene, int preemptions_max, bool told) {
  size_t orders = 0;
  now.known = 0;
  do {
    orders++;
    if (run_order(scene)) continue;
    if (told) tell(scene);
    return 0;
  } while (next_order(preemptions_max));
  return orders;
}
