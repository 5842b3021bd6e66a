#include "engine/fs_conn.h"

#include <errno.h>
#include <string.h>

int fs_conns_init(fs_conns *conns, uint32_t max) {
  *conns = (fs_conns){.max = max, .free_count = max};
  fs_list_init(&conns->all);
  conns->slots = calloc(max, sizeof *conns->slots);
  conns->generations = calloc(max, sizeof *conns->generations);
  conns->free_slots = malloc(max * sizeof *conns->free_slots);
  if (!conns->slots || !conns->generations || !conns->free_slots) {
    fs_conns_fini(conns);
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < max; i++) conns->free_slots[i] = max - 1 - i;
  return 0;
}

void fs_conns_fini(fs_conns *conns) {
  FS_ASSERT(conns->count == 0);
  free(conns->slots);
  free(conns->generations);
  free(conns->free_slots);
  *conns = (fs_conns){0};
}

fs_conn *fs_conns_open(fs_conns *conns, int fd, const fs_addr *peer) {
  if (conns->free_count == 0) return NULL;
  fs_conn *conn = calloc(1, offsetof(fs_conn, peer) + fs_addr_size(peer));
  if (!conn) return NULL;
  uint32_t slot = conns->free_slots[--conns->free_count];
  conns->slots[slot] = conn;
  conns->count++;
  conn->handle = (uint64_t)++conns->generations[slot] << 32 | slot;
  conn->number = ++conns->last_number;
  conn->fd = fd;
  memcpy(&conn->peer, peer, fs_addr_size(peer));
  fs_list_init(&conn->ready_link);
  fs_list_init(&conn->dirty_link);
  fs_list_init(&conn->pending_link);
  fs_list_init(&conn->untold_link);
  fs_list_init(&conn->hold_link);
  fs_timer_init(&conn->timer);
  fs_list_push(&conns->all, &conn->link);
  return conn;
}

fs_conn *fs_conns_find(const fs_conns *conns, uint64_t handle) {
  uint32_t slot = (uint32_t)handle;
  fs_conn *conn = slot < conns->max ? conns->slots[slot] : NULL;
  return conn && conn->handle == handle ? conn : NULL;
}

void fs_conns_release(fs_conns *conns, fs_conn *conn) {
  uint32_t slot = (uint32_t)conn->handle;
  FS_ASSERT(conn->state == FS_DEAD && !conn->inbox);
  while (conn->main.next) {
    fs_sub *gone = conn->main.next;
    conn->main.next = gone->next;
    free(gone);
  }
  fs_list_remove(&conn->link);
  free(conn);
  conns->slots[slot] = NULL;
  conns->free_slots[conns->free_count++] = slot;
  conns->count--;
}
