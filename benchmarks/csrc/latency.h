/* latency.h: how long each request took, and the quantiles of it.
 *
 * Purpose:   the load programs note every request and tell the quantiles at the end.
 * Ownership: the program has one list; it grows, and lives as long as the program.
 * Threading: none; every program has one thread.
 * Limits:    what took longer than 4 s is noted as 4 s.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include "bench.h"

static uint32_t *latencies_ns;
static size_t latency_count, latency_cap;

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline void latency_note(uint64_t ns) {
  if (latency_count == latency_cap) {
    latency_cap = latency_cap ? 2 * latency_cap : 1 << 20;
    latencies_ns = realloc(latencies_ns, latency_cap * sizeof *latencies_ns);
    if (!latencies_ns) die("out of memory");
  }
  latencies_ns[latency_count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static inline int latency_compare(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

/* To be called after the last latency_note, before the first latency_quantile_us. */
static inline void latency_sort(void) {
  qsort(latencies_ns, latency_count, sizeof *latencies_ns, latency_compare);
}

/* The smallest latency that this share of the requests did not exceed; there must be one. */
static inline double latency_quantile_us(double share) {
  size_t at = (size_t)(share * (double)latency_count);
  return latencies_ns[at < latency_count ? at : latency_count - 1] / 1e3;
}

#endif
