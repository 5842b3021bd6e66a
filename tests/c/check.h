/* check.h: the test harness of the C units.
 *
 * Purpose:   checks that name file, line and values; each test in a process of its own.
 * Ownership: none.
 * Threading: a check may fail in any thread of a test.
 * Limits:    a test that takes CHECK_SECONDS_MAX has failed; none waits without an end.
 *
 * A test runs in a child process, so a crash, a hang, an assertion or a leak is the failure of one
 * test. At its end it must hold no descriptor that it did not hold before; LeakSanitizer, at the
 * exit of the child, sees to the memory. main is in check.c: it runs the units that were linked.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { CHECK_SECONDS_MAX = 30 };

typedef struct check_test {
  const char *name;
  void (*run)(void);
} check_test;

typedef struct check_unit {
  const char *file;
  const check_test *tests;
  size_t count;
  struct check_unit *next;
} check_unit;

void check_enlist(check_unit *unit);

/* One for each test file, behind its tests. */
#define CHECK_UNIT(...)                                                                        \
  static const check_test unit_tests[] = {__VA_ARGS__};                                        \
  static check_unit unit = {                                                                   \
      .file = __FILE__, .tests = unit_tests, .count = sizeof unit_tests / sizeof *unit_tests}; \
  __attribute__((constructor)) static void enlist_unit(void) { check_enlist(&unit); }

#define TEST(function) {#function, function}

/* A failed check ends its test. */
#define CHECK(cond)                                                      \
  do {                                                                   \
    if (!(cond)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
      _exit(1);                                                          \
    }                                                                    \
  } while (0)

/* Integers of any type. */
#define CHECK_INT(actual, expected) \
  check_int(__FILE__, __LINE__, #actual, (int64_t)(actual), (int64_t)(expected))

#define CHECK_BYTES(actual, actual_len, expected, expected_len) \
  check_bytes(__FILE__, __LINE__, actual, actual_len, expected, expected_len)

void check_int(const char *file, int line, const char *what, int64_t actual, int64_t expected);
void check_bytes(const char *file, int line, const void *actual, size_t actual_len,
                 const void *expected, size_t expected_len);

/* How many descriptors this process holds. */
int check_fd_count(void);

/* The next of a row of numbers that are the same in every run. */
uint32_t check_random(void);

#endif
