# Every declaration of csrc that the extensions use, and nothing else.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint cbool "bool"


cdef extern from "base/fs_base.h" nogil:
    enum:
        FS_ETOOBIG
        FS_ENEWLINE
        FS_ERETURN
        FS_EEMPTY
        FS_EFULL
        FS_EGONE
        FS_ECLOSED
        FS_EOUTBOX
        FS_EREFUSED
        FS_EFRAMING


cdef extern from "io/fs_kernel.h" nogil:
    const char *fs_kernel_lacks()


cdef extern from "io/fs_sys.h" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t

    struct sockaddr:
        sa_family_t sa_family

    struct in_addr:
        pass

    struct in6_addr:
        pass

    struct sockaddr_in:
        sa_family_t sin_family
        unsigned short sin_port
        in_addr sin_addr

    struct sockaddr_in6:
        sa_family_t sin6_family
        unsigned short sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    struct sockaddr_un:
        sa_family_t sun_family
        char sun_path[108]

    ctypedef struct fs_addr:
        socklen_t len
        sockaddr any
        sockaddr_in in_ "in"
        sockaddr_in6 in6
        sockaddr_un un

    int fs_sys_connect(const fs_addr *addr, cbool *pending)
    int fs_sys_connect_result(int fd)
    int fs_sys_local_addr(int fd, fs_addr *addr)
    ssize_t fs_sys_send(int fd, const void *buf, size_t len)
    ssize_t fs_sys_recv(int fd, void *buf, size_t len)

    struct iovec:
        void *iov_base
        size_t iov_len

    ssize_t fs_sys_sendv(int fd, iovec *iov, int iov_count)
    ssize_t fs_sys_recvv(int fd, iovec *iov, int iov_count)
    int fs_sys_shutdown_write(int fd)
    void fs_sys_close(int fd)
    int fs_sys_poll(int fd, short events, int64_t timeout_ns)
    uint64_t fs_sys_now_ns()


cdef extern from "engine/fs_listener.h" nogil:
    enum:
        FS_LISTENERS_MAX

    ctypedef struct fs_listener:
        int fd

    ctypedef struct fs_listeners:
        fs_listener *all
        uint32_t count

    void fs_listeners_init(fs_listeners *set)
    int fs_listeners_open(fs_listeners *set, const int *fds, uint32_t count)
    void fs_listeners_close(fs_listeners *set)
    void fs_listeners_note(fs_listeners *set, uint32_t index)
    int fs_listeners_accept(fs_listeners *set, fs_addr *peer)


cdef extern from "wire/fs_codec.h" nogil:
    ctypedef struct fs_slice:
        const uint8_t *data
        size_t len

    ctypedef struct fs_codec:
        const char *name
        size_t header_len
        ssize_t (*measure)(const uint8_t *data, size_t len)
        void (*encode)(uint8_t *dst, size_t framed, const uint8_t *data)
        ssize_t (*decode)(const uint8_t *buf, size_t len, size_t message_bytes_max,
                          fs_slice *payload)

    const fs_codec fs_codec_line
    const fs_codec fs_codec_length
    const fs_codec fs_codec_raw


cdef extern from "wire/fs_length.h" nogil:
    enum:
        FS_LENGTH_BYTES

    void fs_length_pack(uint8_t *header, size_t len)
    size_t fs_length_unpack(const uint8_t *header)


cdef extern from "engine/fs_types.h" nogil:
    ctypedef enum fs_reason:
        FS_REASON_PEER
        FS_REASON_RESET
        FS_REASON_LOCAL
        FS_REASON_SERVER
        FS_REASON_SLOW
        FS_REASON_TOO_BIG
        FS_REASON_HANDLER
        FS_REASON_MEMORY
        FS_REASON_IDLE
        FS_REASON_UNFINISHED
        FS_REASON_FRAMING
        FS_REASON_COUNT


cdef extern from "log/fs_channel.h" nogil:
    enum:
        FS_CHANNELS_MAX

    ctypedef enum fs_policy:
        FS_POLICY_DISCONNECT
        FS_POLICY_DROP_OLDEST
        FS_POLICY_BLOCK


cdef extern from "log/fs_outbox.h" nogil:
    enum:
        FS_EDIT_BYTES

    ctypedef struct fs_notice:
        const fs_codec *codec
        fs_slice before, after
        cbool counts


cdef extern from "engine/fs_types.h" nogil:
    const uint32_t FS_NO_LOG

    ctypedef enum fs_relay:
        FS_RELAY_NONE
        FS_RELAY_OTHERS
        FS_RELAY_ALL

    ctypedef struct fs_config:
        const fs_codec *codec
        fs_relay relay
        fs_slice relay_except
        fs_notice gap_notice
        fs_policy policy
        size_t log_bytes
        size_t message_bytes_max
        size_t outbox_bytes_max
        cbool final_line
        size_t flush_bytes
        uint64_t slow_grace_ns
        uint64_t linger_ns
        uint64_t idle_timeout_ns
        uint64_t heartbeat_ns
        uint64_t busy_poll_ns
        size_t first_bytes_max
        uint32_t turn_messages_max
        uint64_t turn_ns
        uint32_t connections_max

    ctypedef enum fs_event_kind:
        FS_CONNECTED
        FS_MESSAGE
        FS_GAP
        FS_DISCONNECTED

    ctypedef struct fs_event:
        fs_event_kind kind
        fs_reason reason
        uint64_t handle
        uint64_t number
        fs_slice message
        uint32_t channel
        uint64_t lost

    ctypedef struct fs_counters:
        uint64_t accepted
        uint64_t accept_errors
        uint64_t refused
        uint64_t messages_received
        uint64_t bytes_received
        uint64_t bytes_sent
        uint64_t sends
        uint64_t dropped
        uint64_t unheard
        uint64_t unfinished
        uint64_t wakeups
        uint64_t turns
        uint64_t *ended

    ctypedef struct fs_outgoing:
        fs_slice message
        size_t framed

    ctypedef enum fs_wait_kind:
        FS_WAIT_ROOM
        FS_WAIT_DRAIN
        FS_WAIT_COUNT
        FS_WAIT_CLOSED

    ctypedef struct fs_waiter:
        uint32_t count

    ctypedef struct fs_reactor:
        pass

    ctypedef struct fs_conn_stats:
        uint64_t number
        uint64_t age_ns
        uint64_t idle_ns
        uint64_t bytes_sent
        uint64_t bytes_received
        uint64_t messages_sent
        uint64_t messages_received
        uint64_t lag_bytes
        uint64_t lag_messages
        uint64_t outbox_bytes
        uint64_t dropped

    ctypedef struct fs_slowest:
        uint64_t handle
        uint64_t number
        uint64_t lag_bytes
        size_t log_bytes
        fs_policy policy

    ctypedef struct fs_totals:
        uint64_t deliveries
        uint64_t messages_published
        uint64_t bytes_published
        uint64_t queued_bytes


cdef extern from "engine/fs_reactor.h" nogil:
    int fs_reactor_new(fs_reactor **result, const fs_config *config, const int *listen_fds,
                       uint32_t listen_count)
    void fs_reactor_free(fs_reactor *reactor)
    int fs_reactor_drive(fs_reactor *reactor, int64_t timeout_ns)
    const fs_event *fs_reactor_events(const fs_reactor *reactor)
    cbool fs_reactor_consumed(fs_reactor *reactor)
    void fs_reactor_catch_up(fs_reactor *reactor)
    void fs_reactor_abandon(fs_reactor *reactor)
    void fs_reactor_set_reporting(fs_reactor *reactor, cbool report)
    int fs_reactor_add_channel(fs_reactor *reactor, size_t log_bytes, fs_policy policy,
                               uint64_t slow_grace_ns)
    int fs_reactor_subscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle)
    int fs_reactor_unsubscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle)
    int fs_reactor_publish(fs_reactor *reactor, uint32_t channel, const uint8_t *data, size_t len,
                           uint64_t exclude, uint64_t *seq)
    int fs_reactor_measure(const fs_reactor *reactor, fs_outgoing *messages, size_t count,
                           size_t *index)
    int fs_reactor_publish_many(fs_reactor *reactor, uint32_t channel, const fs_outgoing *messages,
                                size_t count, uint64_t *seq)
    bint fs_reactor_flush_due(const fs_reactor *reactor, uint32_t channel)
    void fs_reactor_flush(fs_reactor *reactor)
    int fs_reactor_send(fs_reactor *reactor, uint64_t handle, const uint8_t *data, size_t len)
    int fs_reactor_trust(fs_reactor *reactor, uint64_t handle)
    int fs_reactor_close_conn(fs_reactor *reactor, uint64_t handle, fs_reason reason)
    void fs_reactor_close(fs_reactor *reactor, cbool hearing)
    void fs_reactor_set_linger(fs_reactor *reactor, uint64_t linger_ns)
    void fs_reactor_prepare(fs_reactor *reactor, fs_waiter *waiter, fs_wait_kind kind)
    void fs_reactor_prepare_room(fs_reactor *reactor, fs_waiter *waiter, uint32_t channel,
                                 size_t len, uint64_t handle)
    int fs_reactor_wait(fs_reactor *reactor, fs_waiter *waiter, int64_t timeout_ns)
    bint fs_reactor_ended(fs_reactor *reactor)
    int fs_reactor_embed(fs_reactor *reactor)
    const fs_counters *fs_reactor_counters(const fs_reactor *reactor)
    int fs_reactor_conn_stats(fs_reactor *reactor, uint64_t handle, fs_conn_stats *stats)
    int fs_reactor_slowest(fs_reactor *reactor, uint32_t channel, fs_slowest *slowest)
    uint32_t fs_reactor_open_handles(fs_reactor *reactor, uint64_t *handles, uint64_t *numbers,
                                     uint32_t max)
    int fs_reactor_reason(fs_reactor *reactor, uint64_t handle)
    int fs_reactor_peer(fs_reactor *reactor, uint64_t handle, fs_addr *peer)
    int fs_reactor_local(fs_reactor *reactor, uint64_t handle, fs_addr *local)
    void fs_reactor_totals(fs_reactor *reactor, fs_totals *totals)
