#include "engine/fs_reactor.h"

#include "engine/fs_close.h"
#include "engine/fs_state.h"

static int allocate(fs_reactor *r) {
  r->arena = malloc(FS_ARENA_BYTES);
  r->events = malloc(FS_EVENTS_MAX * sizeof *r->events);
  if (!r->arena || !r->events) return -ENOMEM;
  int result = fs_conns_init(&r->conns, r->config.connections_max);
  if (result < 0) return result;
  return fs_reactor_add_channel(r, r->config.log_bytes, r->config.policy, r->config.slow_grace_ns);
}

int fs_reactor_new(fs_reactor **result, const fs_config *config, const int *listen_fds,
                   uint32_t listen_count) {
  size_t frame_max = config->message_bytes_max + config->codec->header_len;
  if (config->log_bytes < 4 * frame_max || config->connections_max == 0) return -EINVAL;
  if (config->flush_bytes == 0 || listen_count > FS_LISTENERS_MAX) return -EINVAL;
  /* A message that never fits must not be waited for. */
  if (config->outbox_bytes_max < sizeof(fs_edit) + frame_max) return -EINVAL;
  if (config->outbox_bytes_max > FS_OUTBOX_BYTES_MAX) return -EINVAL;
  fs_reactor *r = calloc(1, sizeof *r);
  if (!r) return -ENOMEM;
  fs_state_init(r, config);
  int error = allocate(r);
  if (error >= 0) error = fs_state_open(r, listen_fds, listen_count);
  if (error < 0)
    fs_state_free(r);
  else
    *result = r;
  return error;
}

void fs_reactor_free(fs_reactor *r) {
  FS_LIST_EACH(link, &r->conns.all)
  fs_close_kill(r, fs_container_of(link, fs_conn, link), FS_REASON_SERVER);
  fs_close_release(r);
  fs_list_take(&r->reported, &r->dead);
  fs_close_release(r);
  fs_inbox_free_all(&r->retired);
  fs_state_free(r);
}

void fs_reactor_abandon(fs_reactor *r) {
  fs_state_close(r);
  FS_LIST_EACH(link, &r->conns.all) fs_sys_close(fs_container_of(link, fs_conn, link)->fd);
}

int fs_reactor_add_channel(fs_reactor *r, size_t log_bytes, fs_policy policy,
                           uint64_t slow_grace_ns) {
  fs_channel *channel;
  int result = fs_channel_new(&channel, log_bytes, policy, slow_grace_ns);
  if (result < 0) return result;
  pthread_mutex_lock(&r->lock);
  uint32_t number = r->channel_count;
  if (number < FS_CHANNELS_MAX) {
    channel->number = number;
    r->channels[number] = channel;
    atomic_store(&r->channel_count, number + 1);
  }
  pthread_mutex_unlock(&r->lock);
  if (number < FS_CHANNELS_MAX) return (int)number;
  fs_channel_free(channel);
  return FS_EFULL;
}

const fs_event *fs_reactor_events(const fs_reactor *r) { return r->events; }

void fs_reactor_set_reporting(fs_reactor *r, bool report) { atomic_store(&r->report, report); }
