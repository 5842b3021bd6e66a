/* Loaded with LD_PRELOAD: a kernel, or a seccomp profile, that refuses some system calls.
 *
 * LACKING names them, with commas between, of epoll_pwait2, epoll_create1, eventfd, timerfd_create,
 * memfd_create; LACKING_ERRNO is what they fail with: 38 (ENOSYS) by default.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static bool refused(const char *name) {
  const char *names = getenv("LACKING"), *error = getenv("LACKING_ERRNO");
  if (names == NULL || strstr(names, name) == NULL) return false;
  errno = error ? atoi(error) : ENOSYS;
  return true;
}

#define REFUSABLE(name, params, args)                        \
  int name params {                                          \
    if (refused(#name)) return -1;                           \
    return ((__typeof__(&name))dlsym(RTLD_NEXT, #name))args; \
  }

REFUSABLE(epoll_create1, (int flags), (flags))
REFUSABLE(eventfd, (unsigned count, int flags), (count, flags))
REFUSABLE(timerfd_create, (int clock, int flags), (clock, flags))
REFUSABLE(memfd_create, (const char *name, unsigned flags), (name, flags))

long syscall(long number, ...) {
  long of[6];
  va_list given;
  va_start(given, number);
  for (size_t i = 0; i < sizeof of / sizeof *of; i++) of[i] = va_arg(given, long);
  va_end(given);
  if (number == SYS_epoll_pwait2 && refused("epoll_pwait2")) return -1;
  return ((__typeof__(&syscall))dlsym(RTLD_NEXT, "syscall"))(number, of[0], of[1], of[2], of[3],
                                                             of[4], of[5]);
}
