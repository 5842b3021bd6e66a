#include "engine/fs_listener.h"

#include <errno.h>

void fs_listeners_init(fs_listeners *set) { *set = (fs_listeners){.reserve_fd = -1}; }

int fs_listeners_open(fs_listeners *set, const int *fds, uint32_t count) {
  fs_listeners_init(set);
  if (count == 0 || count > FS_LISTENERS_MAX) return -EINVAL;
  int reserve_fd = fs_sys_spare();
  if (reserve_fd < 0) return reserve_fd;
  set->reserve_fd = reserve_fd;
  for (uint32_t i = 0; i < count; i++) set->all[i].fd = fds[i];
  set->count = count;
  return 0;
}

void fs_listeners_close(fs_listeners *set) {
  for (uint32_t i = 0; i < set->count; i++) fs_sys_close(set->all[i].fd);
  if (set->reserve_fd >= 0) fs_sys_close(set->reserve_fd);
  fs_listeners_init(set);
}

void fs_listeners_note(fs_listeners *set, uint32_t index) {
  if (index >= set->count || set->all[index].ready) return;
  set->all[index].ready = true;
  set->ready_count++;
}

/* Accepts the caller in the place of the reserve, and closes it. Another thread may take the place
 * in between: then the caller waits, as error says, until there is a reserve again. */
static int refuse(fs_listeners *set, int listen_fd, int error) {
  fs_addr peer;
  int fd = error;
  if (set->reserve_fd >= 0) {
    fs_sys_close(set->reserve_fd);
    fd = fs_sys_accept(listen_fd, &peer);
    if (fd >= 0) fs_sys_close(fd);
  }
  set->reserve_fd = fs_sys_spare();
  return fd >= 0 ? FS_EREFUSED : fd;
}

int fs_listeners_accept(fs_listeners *set, fs_addr *peer) {
  while (set->ready_count > 0) {
    fs_listener *listener = &set->all[set->next];
    set->next = set->next + 1 == set->count ? 0 : set->next + 1;
    if (!listener->ready) continue;
    int fd = fs_sys_accept(listener->fd, peer);
    if (fd == -EMFILE || fd == -ENFILE) fd = refuse(set, listener->fd, fd);
    if (fd != -EAGAIN) return fd;
    listener->ready = false;
    set->ready_count--;
  }
  return -EAGAIN;
}
