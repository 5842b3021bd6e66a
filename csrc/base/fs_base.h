/* fs_base.h: what every unit of the engine shares.
 *
 * Purpose:   error codes, assertions, container_of.
 * Ownership: none.
 * Threading: none.
 * Limits:    own error codes lie below -4096, outside the range of errno.
 */
#ifndef FS_BASE_H
#define FS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

/* Functions return >= 0, -errno, or one of these. */
enum {
  FS_ETOOBIG = -5001,  /* a frame or message above its limit */
  FS_ENEWLINE = -5002, /* a message for line framing with a newline inside */
  FS_ERETURN = -5009,  /* a message for line framing that ends in a carriage return */
  FS_EEMPTY = -5008,   /* a message of no bytes for raw framing */
  FS_EFULL = -5003,    /* no room in a log now; nothing was appended */
  FS_EGONE = -5004,    /* the connection is not open any more */
  FS_EBUSY = -5005,    /* another thread drives the reactor */
  FS_ECLOSED = -5006,  /* the reactor is closed */
  FS_EOUTBOX = -5007,  /* the outbox of the connection is at its limit */
  FS_EREFUSED = -5011, /* a caller was accepted and closed: no descriptor was left for it */
  FS_EFRAMING = -5010, /* a frame above its limit, because the peer frames otherwise */
};

#define fs_container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define fs_min(a, b) ((a) < (b) ? (a) : (b))
#define fs_max(a, b) ((a) > (b) ? (a) : (b))

/* For our own mistakes, in every build: a broken invariant must never send a wrong byte. */
#define FS_ASSERT(cond)                                                            \
  do {                                                                             \
    if (__builtin_expect(!(cond), 0)) {                                            \
      fprintf(stderr, "fastsock: %s:%d: broken: %s\n", __FILE__, __LINE__, #cond); \
      abort();                                                                     \
    }                                                                              \
  } while (0)

#endif
