/* bench.h: what the C programs of the benchmarks share.
 *
 * Purpose:   the load's messages, clocks, and dying with one line.
 * Ownership: none.
 * Threading: none; every program has one thread.
 * Limits:    SIZE_MAX_BYTES a message, CYCLE messages that a timed run sends over and over.
 *
 * Message i is its number in hexadecimal, as many digits as fit and 8 at most, and then filler
 * that depends on i too. No byte of it is a newline. benchmarks/load.py makes the same bytes.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE_MAX_BYTES = 65536, DIGITS_MAX = 8, FILLER_FIRST = '!', FILLER_COUNT = 94 };

static char filler[SIZE_MAX_BYTES + FILLER_COUNT];

_Noreturn static inline void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

/* The same clock in every process of the machine. */
static inline double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User and system time of this process. */
static inline double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* To be called once, before the first message_write. */
static inline void messages_init(void) {
  for (size_t i = 0; i < sizeof filler; i++) filler[i] = (char)(FILLER_FIRST + i % FILLER_COUNT);
}

static inline size_t message_digits(size_t size) { return size < DIGITS_MAX ? size : DIGITS_MAX; }

/* Writes the size bytes of message i to where it is told, without a newline. */
static inline void message_write(char *to, size_t size, uint64_t i) {
  size_t digits = message_digits(size);
  uint64_t rest = i;
  for (size_t at = digits; at-- > 0; rest >>= 4) to[at] = "0123456789abcdef"[rest & 15];
  memcpy(to + digits, filler + i % FILLER_COUNT, size - digits);
}

/* One argument of the command line or a command: a whole number from low to high. */
static inline size_t parse_count(const char *name, const char *text, size_t low, size_t high) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || end == text || *end || *text == '-' || value < low || value > high)
    die("%s: '%s' is not a whole number from %zu to %zu", name, text, low, high);
  return (size_t)value;
}

#endif
