"""The batch calls: one call for many descriptors or many datagrams."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from array import array

import numpy as np
import pytest
from calls import Call, signal_until
from conftest import wait_until

from fastsock import posix

pytest_plugins = ("descriptors",)


@pytest.fixture
def pairs(keep):
    """Ten pairs of connected UNIX stream sockets: descriptors of shape (10, 2)."""
    return np.array([keep(*posix.socketpair()) for _ in range(10)], np.int32)


def datagrams(count, size=16):
    """Arrays to receive datagrams into: buffers, lengths."""
    return np.zeros((count, size), np.uint8), np.zeros(count, np.int64)


def texts(buffers, lengths, count):
    return [bytes(buffers[i, : lengths[i]]) for i in range(count)]


# ---- Many descriptors ----


def test_the_same_to_each_and_from_each(pairs):
    near, far = pairs.T.copy()
    results = posix.send_each(near, b"tick")
    assert results.dtype == np.int64
    assert results.tolist() == [4] * 10
    buffers = np.zeros((10, 6), np.uint8)
    assert posix.recv_each(far, buffers).tolist() == [4] * 10
    assert (buffers == np.frombuffer(b"tick\0\0", np.uint8)).all()
    assert posix.recv_each(far, buffers).tolist() == [-errno.EAGAIN] * 10


def test_something_else_to_each(pairs):
    near, far = pairs.T.copy()
    data = [b"x" * i for i in range(1, 11)]
    assert posix.send_each(near, data).tolist() == list(range(1, 11))
    buffers = [bytearray(10) for _ in range(10)]
    assert posix.recv_each(far, tuple(buffers)).tolist() == list(range(1, 11))
    assert [bytes(buffer).rstrip(b"\0") for buffer in buffers] == data


def test_rows_of_any_type(pairs):
    near, far = pairs.T.copy()
    sent = np.arange(30.0).reshape(10, 3)
    posix.send_each(near, list(sent))
    received = np.zeros_like(sent)
    posix.recv_each(far, received)
    assert (received == sent).all()


def test_failures_are_told_by_descriptor(pairs):
    near, far = pairs.T.copy()
    posix.close(far[3])
    posix.close(far[5])
    posix.close(near[5])
    near[7] = -1
    results = posix.send_each(near, b"x")
    failed = {3: -errno.EPIPE, 5: -errno.EBADF, 7: -errno.EBADF}
    assert results.tolist() == [failed.get(i, 1) for i in range(10)]
    assert posix.recv_each(near[3:4], np.zeros((1, 8), np.uint8)).tolist() == [0]


def test_full_sockets_do_not_hold_up_the_others(pairs):
    near, _ = pairs.T.copy()
    posix.setsockopt(near[0], socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    results = posix.send_each(near, bytes(50_000))
    assert 0 < results[0] < 50_000
    assert results[1:].tolist() == [50_000] * 9
    assert posix.send_each(near[:1], b"x").tolist() == [-errno.EAGAIN]


def test_results_go_where_the_caller_says(pairs):
    near, far = pairs.T.copy()
    out = np.full(10, 99, np.int64)
    assert posix.send_each(near, b"ab", out=out) is out
    assert out.tolist() == [2] * 10
    plain = array("q", bytes(80))
    assert posix.recv_each(far, np.zeros((10, 4), np.uint8), out=plain) is plain
    assert list(plain) == [2] * 10


def test_no_descriptors():
    none = np.zeros(0, np.int32)
    assert posix.send_each(none, b"x").tolist() == []
    assert posix.send_each(none, []).tolist() == []
    assert posix.recv_each(none, np.zeros((0, 4), np.uint8)).tolist() == []


@pytest.mark.parametrize("call", [posix.send_each, posix.recv_each])
@pytest.mark.parametrize(
    ("fds", "error", "message"),
    [
        ([1, 2], TypeError, "fds: a bytes-like object is required, not 'list'"),
        (np.arange(2), TypeError, "fds must be an array of int32 with one dimension.*8 bytes"),
        (np.zeros(2, np.float32), TypeError, "fds must be an array of int32.*format 'f'"),
        (np.zeros(2, np.uint32), TypeError, "fds must be an array of int32.*format 'I'"),
        (np.zeros(2, ">i4"), TypeError, "fds must be an array of int32.*format '>i'"),
        (np.zeros((2, 1), np.int32), TypeError, "fds must be an array of int32.* this one has 2"),
        (np.int32(1), ValueError, "fds must have a dimension"),
        (np.zeros(4, np.int32)[::2], BufferError, "fds: a contiguous buffer is needed"),
        (np.zeros(2, "M8[s]"), TypeError, "fds must be an array of int32"),
    ],
)
def test_descriptors_that_are_no_int32_array(call, fds, error, message):
    with pytest.raises(error, match=message):
        call(fds, np.zeros((2, 1), np.uint8))


@pytest.mark.parametrize(
    ("buffers", "error", "message"),
    [
        (np.zeros((9, 4)), ValueError, "buffers must have 10 items like the rest, not 9"),
        ([bytearray(1)], ValueError, "buffers must have 10 items like the rest, not 1"),
        (bytearray(10), ValueError, r"buffers must have the shape \(count, size\)"),
        ([b"x"] * 10, BufferError, "a contiguous, writable buffer is needed, not this bytes"),
        (np.zeros((10, 8))[:, ::2], BufferError, "buffers: a contiguous, writable buffer"),
        (np.zeros((10, 2), object), TypeError, "buffers: .* plain values is needed"),
        (7, TypeError, "buffers: a bytes-like object is required"),
    ],
)
def test_buffers_that_do_not_fit(pairs, buffers, error, message):
    with pytest.raises(error, match=message):
        posix.recv_each(pairs[:, 0].copy(), buffers)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(9, np.int64), ValueError, "out must have 10 items like the rest, not 9"),
        (np.zeros(10, np.int32), TypeError, "out must be an array of int64"),
        (np.zeros(20, np.int64)[::2], BufferError, "out: a contiguous, writable buffer"),
        (bytes(80), BufferError, "out: a contiguous, writable buffer"),
    ],
)
def test_results_that_do_not_fit(pairs, out, error, message):
    near, far = pairs.T.copy()
    with pytest.raises(error, match=message):
        posix.send_each(near, b"x", out=out)
    assert posix.recv_each(far, np.zeros((10, 1), np.uint8)).tolist() == [-errno.EAGAIN] * 10


def test_data_of_another_count(pairs):
    with pytest.raises(ValueError, match="data must have 10 items like the rest, not 2"):
        posix.send_each(pairs[:, 0].copy(), [b"x", b"y"])


def test_arrays_are_held_while_a_batch_waits(pairs):
    fds, data = array("i", pairs[:2, 0]), [bytearray(4), bytearray(4)]
    waiting = Call(lambda: posix.recv_each(fds, data, 0))
    waiting.wait_asleep()
    for held in fds, data[0], data[1]:
        with pytest.raises(BufferError):
            held.extend(held)
    data.clear()
    posix.send_each(pairs[:2, 1].copy(), b"done")
    assert waiting.wait_result().tolist() == [4, 4]


class Stop(Exception):
    pass


def test_a_handler_that_raises_leaves_what_was_done(pairs):
    raised = threading.Event()

    def handler(*_):
        if not raised.is_set():
            raised.set()
            raise Stop

    near, far = pairs.T.copy()
    posix.send_each(far[:4], b"here")
    out = np.zeros(10, np.int64)
    before = signal.signal(signal.SIGUSR1, handler)
    signals = signal_until(raised, signal.SIGUSR1)
    with pytest.raises(Stop):
        posix.recv_each(near, np.zeros((10, 4), np.uint8), 0, out=out)
    signals.wait_result()
    signal.signal(signal.SIGUSR1, before)
    assert out.tolist() == [4] * 4 + [-errno.EINTR] * 6


def test_without_numpy_a_batch_says_what_to_install():
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'numpy': raise ImportError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from array import array; from fastsock import posix\n"
        "fds = array('i', posix.socketpair())\n"
        "print(posix.send_each(fds, b'x', out=array('q', [0, 0])).tolist())\n"
        "try: posix.recv_each(fds, [bytearray(1)] * 2)\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "[1, 1]",
        "recv_each needs numpy: pip install fastsock[batch]",
    ], done.stderr


# ---- Datagrams ----


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_datagrams_go_and_come(udp, count):
    posix.setsockopt(udp[1], socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sent = [b"%d" % i for i in range(count)]
    assert posix.sendmmsg(udp[0], sent) == count
    buffers, lengths = datagrams(count)
    assert posix.recvmmsg(udp[1], buffers, lengths) == count
    assert texts(buffers, lengths, count) == sent


def test_rows_are_sent_as_long_as_lengths_say(udp):
    rows = np.full((3, 8), ord("x"), np.uint8)
    assert posix.sendmmsg(udp[0], rows, np.array([1, 0, 8])) == 3
    assert posix.sendmmsg(udp[0], rows[:1]) == 1
    buffers, lengths = datagrams(9)
    assert posix.recvmmsg(udp[1], buffers, lengths) == 4
    assert texts(buffers, lengths, 4) == [b"x", b"", 8 * b"x", 8 * b"x"]
    assert lengths[4:].tolist() == [0] * 5


def test_a_batch_waits_for_one_and_takes_what_is_there(udp):
    buffers, lengths = datagrams(100)
    waiting = Call(lambda: posix.recvmmsg(udp[1], buffers, lengths))
    waiting.wait_asleep()
    posix.send(udp[0], b"first")
    assert waiting.wait_result() == 1
    with pytest.raises(BlockingIOError, match=rf"recvmmsg\({udp[1]}\)"):
        posix.recvmmsg(udp[1], buffers, lengths, flags=posix.MSG_DONTWAIT)
    posix.sendmmsg(udp[0], [b"."] * 64)
    assert posix.recvmmsg(udp[1], buffers, lengths) == 64  # a whole piece, and nothing behind it


def test_a_batch_that_wants_all_waits_for_all(udp):
    buffers, lengths = datagrams(70)
    waiting = Call(lambda: posix.recvmmsg(udp[1], buffers, lengths, flags=0))
    posix.sendmmsg(udp[0], [b"x"] * 69)
    waiting.wait_asleep()
    posix.send(udp[0], b"last")
    assert waiting.wait_result() == 70


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_answers_go_to_the_senders(keep, family, host):
    server, *clients = keep(*(posix.socket(family, socket.SOCK_DGRAM) for _ in range(4)))
    posix.bind(server, (host, 0))
    for i, client in enumerate(clients):
        posix.sendto(client, b"%d" % i, posix.getsockname(server))
    buffers, lengths = datagrams(3)
    senders = np.full((3, 28), 255, np.uint8)
    assert posix.recvmmsg(server, buffers, lengths, senders) == 3
    ports = [posix.getsockname(client)[1] for client in clients]
    assert [posix.unpack_address(row)[:2] for row in senders] == [(host, port) for port in ports]
    assert posix.sendmmsg(server, buffers, lengths, senders) == 3
    assert [posix.recv(client, 10) for client in clients] == [b"0", b"1", b"2"]


def test_unix_names_are_answered(keep, tmp_path):
    server, *clients = keep(*(posix.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(4)))
    names = [str(tmp_path / "path"), b"\0fastsock batch %d" % os.getpid()]
    posix.bind(server, tmp_path / "server")
    for client, name in zip(clients, names, strict=False):
        posix.bind(client, name)
    for client in clients:  # the last one has no name
        posix.sendto(client, b"?", tmp_path / "server")
    buffers, lengths = datagrams(3)
    senders = np.full((3, 110), 255, np.uint8)
    assert posix.recvmmsg(server, buffers, lengths, senders) == 3
    assert [posix.unpack_address(row) for row in senders] == [*names, None]
    with pytest.raises(OSError, match=r"Transport endpoint is not connected: sendmmsg"):
        posix.sendmmsg(server, buffers[2:], lengths[2:], senders[2:])
    assert posix.sendmmsg(server, buffers[:2], lengths[:2], senders[:2]) == 2
    assert [posix.recv(client, 10) for client in clients[:2]] == [b"?", b"?"]


def test_one_address_for_all(udp, keep):
    (other,) = keep(posix.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert posix.sendmmsg(other, [b"a", b"b"], None, posix.getsockname(udp[1])) == 2
    assert [posix.recv(udp[1], 9), posix.recv(udp[1], 9)] == [b"a", b"b"]


def test_a_cut_datagram_tells_its_true_size(udp):
    buffers, lengths = datagrams(2, 4)
    posix.sendmmsg(udp[0], [b"0123456789", b"ok"])
    flags = posix.MSG_WAITFORONE | posix.MSG_TRUNC
    assert posix.recvmmsg(udp[1], buffers, lengths, flags=flags) == 2
    assert lengths.tolist() == [10, 2]
    assert bytes(buffers[0]) == b"0123"


def test_a_datagram_that_is_refused_ends_the_batch(udp):
    posix.setsockopt(udp[1], socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    too_big = bytes(70_000)
    assert posix.sendmmsg(udp[0], [b"a", b"b", too_big, b"c"]) == 2
    with pytest.raises(OSError, match=rf"Message too long: sendmmsg\({udp[0]}\)"):
        posix.sendmmsg(udp[0], [too_big])
    assert posix.sendmmsg(udp[0], [b"x"] * 70 + [too_big]) == 70


def test_empty_batches(udp):
    assert posix.sendmmsg(udp[0], []) == 0
    assert posix.recvmmsg(udp[1], [], np.zeros(0, np.int64)) == 0


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (np.array([1, 5]), ValueError, r"lengths\[1\] is 5, outside its buffer of 4 bytes"),
        (np.array([-1, 1]), ValueError, r"lengths\[0\] is -1, outside"),
        (np.array([1]), ValueError, "lengths must have 2 items like the rest, not 1"),
        (np.array([1, 1], np.int32), TypeError, "lengths must be an array of int64"),
        ([1, 1], TypeError, "lengths: a bytes-like object is required"),
    ],
)
def test_lengths_that_do_not_fit(udp, lengths, error, message):
    with pytest.raises(error, match=message):
        posix.sendmmsg(udp[0], np.zeros((2, 4), np.uint8), lengths)


@pytest.mark.parametrize(
    ("addresses", "error", "message"),
    [
        (np.zeros((1, 28), np.uint8), ValueError, "addresses must have 2 items"),
        (np.zeros(56, np.uint8), ValueError, r"addresses must have the shape \(count, size\)"),
        (("localhost", 1), ValueError, "not a numeric IPv4 address"),
        (5, TypeError, "addresses: a bytes-like object is required"),
    ],
)
def test_addresses_that_do_not_fit(udp, addresses, error, message):
    with pytest.raises(error, match=message):
        posix.sendmmsg(udp[0], [b"x", b"y"], None, addresses)


def test_rows_too_short_for_an_address(udp):
    with pytest.raises(OSError, match="sendmmsg"):
        posix.sendmmsg(udp[0], [b"x"], None, np.full((1, 1), 2, np.uint8))
    buffers, lengths = datagrams(1)
    with pytest.raises(BufferError, match="addresses: a contiguous, writable buffer"):
        posix.recvmmsg(udp[1], buffers, lengths, bytes(28))
    with pytest.raises(ValueError, match="rows of at least 28 bytes, not 27"):
        posix.recvmmsg(udp[1], buffers, lengths, np.zeros((1, 27), np.uint8))


# ---- Offload ----


def test_one_send_makes_many_datagrams(udp):
    posix.setsockopt(udp[0], socket.SOL_UDP, posix.UDP_SEGMENT, 10)
    data = bytes(range(95))
    assert posix.send(udp[0], data) == 95
    buffers, lengths = datagrams(20)
    assert posix.recvmmsg(udp[1], buffers, lengths) == 10
    assert lengths[:10].tolist() == [10] * 9 + [5]
    assert b"".join(texts(buffers, lengths, 10)) == data


def test_many_datagrams_come_in_one_buffer(udp):
    posix.setsockopt(udp[0], socket.SOL_UDP, posix.UDP_SEGMENT, 64)
    posix.setsockopt(udp[1], socket.SOL_UDP, posix.UDP_GRO, 1)
    data = np.random.default_rng(1).bytes(64 * 32)
    assert posix.sendmmsg(udp[0], [data, b"single"]) == 2
    buffers, lengths = datagrams(4, 1 << 16)
    segments = np.full(4, -1, np.int64)
    wait_until(lambda: posix.poll([(udp[1], posix.POLLIN)], 0), "datagrams")
    assert posix.recvmmsg(udp[1], buffers, lengths, segments=segments) == 2
    assert texts(buffers, lengths, 2) == [data, b"single"]
    assert segments.tolist() == [64, 0, -1, -1]


def test_segments_must_fit(udp):
    buffers, lengths = datagrams(2)
    with pytest.raises(ValueError, match="segments must have 2 items"):
        posix.recvmmsg(udp[1], buffers, lengths, segments=np.zeros(1, np.int64))
