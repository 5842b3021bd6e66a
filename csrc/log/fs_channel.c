#include "log/fs_channel.h"

#include <errno.h>

int fs_channel_new(fs_channel **result, size_t log_bytes, fs_policy policy,
                   uint64_t slow_grace_ns) {
  fs_channel *channel = calloc(1, sizeof *channel);
  if (!channel) return -ENOMEM;
  int error = fs_log_init(&channel->log, log_bytes);
  if (error < 0) {
    free(channel);
    return error;
  }
  channel->policy = policy;
  channel->slow_grace_ns = slow_grace_ns;
  fs_list_init(&channel->subs);
  fs_list_init(&channel->joining);
  *result = channel;
  return 0;
}

void fs_channel_free(fs_channel *channel) {
  FS_ASSERT(fs_list_empty(&channel->subs) && fs_list_empty(&channel->joining));
  fs_log_fini(&channel->log);
  free(channel);
}

void fs_sub_init(fs_sub *sub, struct fs_conn *conn, fs_channel *channel, uint32_t bytes_max) {
  *sub = (fs_sub){.channel = channel, .conn = conn};
  fs_outbox_init(&sub->box, &channel->log, bytes_max);
  fs_list_init(&sub->channel_link);
}

static uint64_t lowest(const fs_list *subs, uint64_t tail) {
  FS_LIST_EACH(link, subs) {
    uint64_t cursor = fs_container_of(link, fs_sub, channel_link)->box.cursor;
    tail = fs_min(tail, cursor);
  }
  return tail;
}

void fs_channel_move_tail(fs_channel *channel) {
  uint64_t tail = atomic_load(&channel->log.head);
  fs_log_trim(&channel->log, lowest(&channel->joining, lowest(&channel->subs, tail)));
  channel->tail_stale = false;
}
