#include "io/fs_kernel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/fs_sys.h"
#include "io/fs_sys_linux.h"

static int try_epoll(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int try_memfd(void) {
  int fd = memfd_create("fastsock-try", MFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* epoll_pwait2, the only newer call, has a substitute: fs_poll_epoll.c. */
static const struct {
  int (*try)(void);
  const char *name;
} needs[] = {
    {try_epoll, "epoll_create1, which Linux has since 2.6.27"},
    {fs_sys_eventfd, "eventfd2, which Linux has since 2.6.27"},
    {fs_sys_timerfd, "timerfd_create, which Linux has since 2.6.25"},
    {try_memfd, "memfd_create, which Linux has since 3.17"},
};

const char *fs_kernel_lacks(void) {
  for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
    int fd = needs[i].try();
    if (fd == -ENOSYS || fd == -EPERM) return needs[i].name;
    if (fd >= 0) fs_sys_close(fd);
  }
  return NULL;
}
