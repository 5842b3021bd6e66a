#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"

enum { NARROW_BYTES = 4096, BACKLOG = 100 };

fs_config rig_config(void) {
  /* An hour, but no whole number of the timer wheel's laps, at each of which it looks up. */
  return (fs_config){.codec = &fs_codec_line,
                     .log_bytes = 1 << 16,
                     .message_bytes_max = 1 << 13,
                     .outbox_bytes_max = 1 << 16,
                     .flush_bytes = 1 << 18,
                     .slow_grace_ns = 3602500 * RIG_MS_NS,
                     .linger_ns = 3602500 * RIG_MS_NS,
                     .connections_max = 100};
}

static fs_addr any_address(int family) {
  fs_addr addr = {0};
  addr.any.sa_family = (sa_family_t)family;
  if (family == AF_INET) {
    addr.len = sizeof addr.in;
    addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else if (family == AF_INET6) {
    addr.len = sizeof addr.in6;
    addr.in6.sin6_addr = in6addr_loopback;
  } else {
    addr.len = sizeof addr.any.sa_family;
  }
  return addr;
}

int rig_listen(int family, fs_addr *addr) {
  fs_addr wanted = any_address(family);
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  CHECK_INT(bind(fd, &wanted.any, wanted.len), 0);
  CHECK_INT(listen(fd, BACKLOG), 0);
  CHECK_INT(fs_sys_local_addr(fd, addr), 0);
  return fd;
}

void rig_open(struct rig *rig, const fs_config *config, int family) {
  int few = NARROW_BYTES, fd = rig_listen(family, &rig->address);
  if (rig->narrow) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  CHECK_INT(fs_reactor_new(&rig->reactor, config, &fd, 1), 0);
  atomic_store(&rig->reactor->report, true);
}

void rig_close(struct rig *rig) {
  fs_waiter closed;
  fs_reactor *reactor = rig->reactor;
  fs_reactor_close(reactor, false);
  fs_reactor_prepare(reactor, &closed, FS_WAIT_CLOSED);
  /* The clients of a test may still be there, and silent. */
  fs_reactor_set_linger(reactor, 0);
  reactor->deadline_ns = 0;
  FS_LIST_EACH(link, &reactor->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state != FS_OPEN) fs_wheel_set(&reactor->wheel, &conn->timer, 0);
  }
  RIG_UNTIL(rig, fs_reactor_met(reactor, &closed));
  fs_reactor_free(reactor);
  for (size_t i = 0; i < rig->event_count; i++) free(rig->events[i].data);
  free(rig->events);
}

static void copy_event(struct rig *rig, const fs_event *event) {
  if (rig->event_count == rig->event_cap) {
    rig->event_cap = rig->event_cap ? 2 * rig->event_cap : 64;
    rig->events = realloc(rig->events, rig->event_cap * sizeof *rig->events);
  }
  rig_event *copy = &rig->events[rig->event_count++];
  *copy = (rig_event){event->kind, event->reason, event->handle, event->number, NULL, 0};
  if (event->kind != FS_MESSAGE) return;
  copy->len = event->message.len;
  copy->data = malloc(copy->len + 1);
  if (copy->len) memcpy(copy->data, event->message.data, copy->len);
  copy->data[copy->len] = 0;
}

int rig_turn(struct rig *rig, int64_t timeout_ns) {
  fault_on();
  int count = fs_reactor_turn(rig->reactor, timeout_ns);
  fault_off();
  for (int i = 0; i < count; i++) copy_event(rig, &rig->reactor->events[i]);
  fault_on();
  if (count > 0 && fs_reactor_consumed(rig->reactor)) fs_reactor_catch_up(rig->reactor);
  fault_off();
  return count;
}

void rig_in_time(uint64_t begun_ns, const char *file, int line, const char *what) {
  if (fs_sys_now_ns() - begun_ns < RIG_WAIT_NS) return;
  fprintf(stderr, "%s:%d: not so after %lld s: %s\n", file, line, RIG_WAIT_NS / RIG_MS_NS / 1000,
          what);
  _exit(1);
}

size_t rig_count(const struct rig *rig, fs_event_kind kind) {
  size_t count = 0;
  for (size_t i = 0; i < rig->event_count; i++) count += rig->events[i].kind == kind;
  return count;
}

const rig_event *rig_last(const struct rig *rig, fs_event_kind kind) {
  for (size_t i = rig->event_count; i-- > 0;)
    if (rig->events[i].kind == kind) return &rig->events[i];
  CHECK(!"there was such an event");
  return NULL;
}

int rig_reason(const struct rig *rig, uint64_t handle) {
  for (size_t i = 0; i < rig->event_count; i++)
    if (rig->events[i].kind == FS_DISCONNECTED && rig->events[i].handle == handle)
      return (int)rig->events[i].reason;
  return -1;
}

/* ---- Clients ---- */

void rig_call(struct rig *rig, struct client *client) {
  const fs_addr *addr = &rig->address;
  int few = NARROW_BYTES;
  *client = (struct client){.fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  CHECK(client->fd >= 0);
  if (rig->narrow) setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
  CHECK_INT(connect(client->fd, &addr->any, addr->len), 0);
}

void rig_join(struct rig *rig, struct client *client) {
  size_t before = rig_count(rig, FS_CONNECTED);
  rig_call(rig, client);
  RIG_UNTIL(rig, rig_count(rig, FS_CONNECTED) > before);
  client->handle = rig_last(rig, FS_CONNECTED)->handle;
}

void rig_publish(struct rig *rig, const char *text, uint64_t exclude) {
  uint64_t seq;
  int result =
      fs_reactor_publish(rig->reactor, 0, (const uint8_t *)text, strlen(text), exclude, &seq);
  CHECK(result >= 0);
}

void rig_send(struct rig *rig, const struct client *client, const char *text) {
  CHECK_INT(fs_reactor_send(rig->reactor, client->handle, (const uint8_t *)text, strlen(text)), 0);
}

int rig_make_room(fs_reactor *reactor, uint32_t channel, size_t len, uint64_t handle,
                  int64_t timeout_ns) {
  fs_waiter waiter;
  fs_reactor_prepare_room(reactor, &waiter, channel, len, handle);
  return fs_reactor_wait(reactor, &waiter, timeout_ns);
}

static bool pulled(struct client *client, size_t len) {
  client_pull(client);
  return client->got_len >= len;
}

static bool pulled_to_end(struct client *client) {
  client_pull(client);
  return client->ended;
}

void rig_receives(struct rig *rig, struct client *client, const char *bytes) {
  RIG_UNTIL(rig, pulled(client, strlen(bytes)));
  CHECK_BYTES(client->got, client->got_len, bytes, strlen(bytes));
  client->got_len = 0;
}

void rig_ends(struct rig *rig, struct client *client, const char *bytes) {
  RIG_UNTIL(rig, pulled_to_end(client));
  CHECK_BYTES(client->got, client->got_len, bytes, strlen(bytes));
  CHECK_INT(client->error, 0);
}

size_t rig_fill(struct rig *rig, const struct client *client, size_t len) {
  static const uint8_t zeros[1 << 16];
  uint64_t seq;
  size_t count = 0;
  for (; fs_reactor_publish(rig->reactor, 0, zeros, len, 0, &seq) >= 0; count++) rig_turn(rig, 0);
  CHECK(client_conn(rig, client)->blocked);
  return count;
}

void client_pull(struct client *client) {
  while (!client->ended) {
    if (client->got_cap - client->got_len < 1 << 12) {
      client->got_cap = client->got_cap ? 2 * client->got_cap : 1 << 16;
      client->got = realloc(client->got, client->got_cap);
    }
    ssize_t received =
        fs_sys_recv(client->fd, client->got + client->got_len, client->got_cap - client->got_len);
    if (received == -EAGAIN) return;
    client->ended = received <= 0;
    client->error = received < 0 ? (int)-received : 0;
    if (received > 0) client->got_len += (size_t)received;
  }
}

void client_write(const struct client *client, const void *data, size_t len) {
  while (len > 0) {
    ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL);
    CHECK(sent > 0);
    data = (const char *)data + sent;
    len -= (size_t)sent;
  }
}

void client_say(const struct client *client, const char *text) {
  client_write(client, text, strlen(text));
}

size_t client_pour(const struct client *client, const void *data, size_t len) {
  size_t poured = 0;
  while (poured < len) {
    ssize_t sent = fs_sys_send(client->fd, (const uint8_t *)data + poured, len - poured);
    if (sent <= 0) break;
    poured += (size_t)sent;
  }
  return poured;
}

void client_close(struct client *client) {
  fs_sys_close(client->fd);
  free(client->got);
  client->got = NULL;
}

void client_reset(struct client *client) {
  fs_sys_reset_on_close(client->fd);
  client_close(client);
}

fs_conn *client_conn(const struct rig *rig, const struct client *client) {
  fs_conn *conn = fs_conns_find(&rig->reactor->conns, client->handle);
  CHECK(conn);
  return conn;
}
