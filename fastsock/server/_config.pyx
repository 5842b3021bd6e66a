"""The options of a server as the engine's configuration."""

from fastsock._csrc cimport *

CHANNELS_MAX = FS_CHANNELS_MAX - 1  # beside the server's own
EDIT_BYTES = FS_EDIT_BYTES

cdef dict POLICIES = {
    "disconnect": FS_POLICY_DISCONNECT,
    "drop_oldest": FS_POLICY_DROP_OLDEST,
    "block": FS_POLICY_BLOCK,
}

cdef dict RELAYS = {None: FS_RELAY_NONE, "others": FS_RELAY_OTHERS, "all": FS_RELAY_ALL}


cdef uint64_t ns_of(object seconds) except? 0:
    """Return nanoseconds; 0 for None."""
    return <uint64_t>((seconds or 0) * 1e9)


cdef fs_policy policy_of(object name) except *:
    return <fs_policy><int>POLICIES[name]


cdef object policy_name(fs_policy policy):
    return next(name for name, number in POLICIES.items() if number == <int>policy)


cdef int fill_notice(fs_notice *notice, object gap_notice) except -1:
    """Fill in the text around the number; the engine sets the codec if there is a text."""
    cdef bytes text = gap_notice or b""
    cdef Py_ssize_t place = text.find(b"%d")
    cdef const uint8_t *data = <const uint8_t *><const char *>text
    notice.codec = NULL
    notice.counts = place >= 0
    notice.before.data = data
    notice.before.len = place if place >= 0 else len(text)
    notice.after.data = data + place + 2 if place >= 0 else NULL
    notice.after.len = len(text) - place - 2 if place >= 0 else 0
    return 0


cdef int fill_config(fs_config *config, object options, object tuning) except -1:
    """Fill in all but the codec, from a ServerOptions, which must live as long as the reactor, and
    a Tuning."""
    cdef bytes relay_except = options.relay_except or b""
    config.relay = <fs_relay><int>RELAYS[options.relay]
    config.relay_except.data = <const uint8_t *><const char *>relay_except
    config.relay_except.len = len(relay_except)
    fill_notice(&config.gap_notice, options.gap_notice)
    config.policy = policy_of(options.slow_policy)
    config.log_bytes = options.log_bytes
    config.message_bytes_max = options.message_bytes_max
    config.outbox_bytes_max = options.outbox_bytes_max
    config.final_line = options.final_line
    config.slow_grace_ns = ns_of(options.slow_grace)
    config.linger_ns = ns_of(options.linger)
    config.idle_timeout_ns = ns_of(options.idle_timeout)
    config.heartbeat_ns = ns_of(options.heartbeat)
    config.busy_poll_ns = options.busy_poll_us * 1000
    config.connections_max = options.connections_max
    config.flush_bytes = tuning.flush_bytes
    config.first_bytes_max = tuning.first_bytes_max
    config.turn_messages_max = tuning.turn_messages_max
    config.turn_ns = tuning.turn_ns
    return 0
