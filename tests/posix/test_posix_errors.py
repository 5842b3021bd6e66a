"""fastsock.posix: every mistake has its error, and nothing crashes or is lost by one."""

import fcntl
import os
import signal
import socket
import sys
import threading

import numpy as np
import pytest
from calls import Call, signal_until

from fastsock import posix

pytest_plugins = ("descriptors",)

CALLS = {
    "send": lambda fd: posix.send(fd, b"x"),
    "sendto": lambda fd: posix.sendto(fd, b"x", ("127.0.0.1", 9)),
    "sendmsg": lambda fd: posix.sendmsg(fd, [b"x"]),
    "sendfile": lambda fd: posix.sendfile(fd, 0, None, 1),
    "recv": lambda fd: posix.recv(fd, 1),
    "recv_into": lambda fd: posix.recv_into(fd, bytearray(1)),
    "recvfrom": lambda fd: posix.recvfrom(fd, 1),
    "recvfrom_into": lambda fd: posix.recvfrom_into(fd, bytearray(1)),
    "recvmsg": lambda fd: posix.recvmsg(fd, 1),
    "recvmsg_into": lambda fd: posix.recvmsg_into(fd, [bytearray(1)]),
    "sendmmsg": lambda fd: posix.sendmmsg(fd, [b"x"]),
    "recvmmsg": lambda fd: posix.recvmmsg(fd, [bytearray(1)], np.zeros(1, np.int64)),
    "bind": lambda fd: posix.bind(fd, ("127.0.0.1", 0)),
    "connect": lambda fd: posix.connect(fd, ("127.0.0.1", 9)),
    "listen": lambda fd: posix.listen(fd),
    "accept": lambda fd: posix.accept(fd),
    "getsockname": lambda fd: posix.getsockname(fd),
    "getpeername": lambda fd: posix.getpeername(fd),
    "getsockopt": lambda fd: posix.getsockopt(fd, socket.SOL_SOCKET, socket.SO_TYPE),
    "setsockopt": lambda fd: posix.setsockopt(fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "shutdown": lambda fd: posix.shutdown(fd, socket.SHUT_WR),
    "close": lambda fd: posix.close(fd),
    "fcntl": lambda fd: posix.fcntl(fd, fcntl.F_GETFL),
    "set_nonblocking": lambda fd: posix.set_nonblocking(fd),
}


# ---- Descriptors ----


@pytest.mark.parametrize("call", CALLS)
def test_a_descriptor_that_is_not_open(call, pair):
    posix.close(pair[0])
    for fd in pair[0], -1, -(2**40), 2**31, 2**70:
        with pytest.raises(OSError, match=rf"\[Errno 9\] Bad file descriptor: {call}\({fd}\b"):
            CALLS[call](fd)


@pytest.mark.parametrize("call", CALLS)
def test_a_descriptor_that_is_no_int(call):
    for wrong in "3", 3.0, None, b"3":
        with pytest.raises(TypeError, match=r"a descriptor is an int .*, not "):
            CALLS[call](wrong)


def test_numpy_ints_are_descriptors(pair):
    fds = np.array(pair, np.int32)
    assert posix.send(fds[0], b"x") == 1
    assert posix.recv(fds[1], 1) == b"x"


def test_a_descriptor_that_is_no_socket(keep):
    reader, _ = keep(*posix.pipe())
    with pytest.raises(OSError, match=rf"Socket operation on non-socket: send\({reader}\)"):
        posix.send(reader, b"x")


def test_poll_refuses_a_negative_descriptor(pair):
    with pytest.raises(OSError, match=r"\[Errno 9\] .*: poll\(-1\)"):
        posix.poll([(pair[0], posix.POLLIN), (-1, posix.POLLIN)], 0)


def test_fcntl_takes_only_commands_without_pointers(pair):
    with pytest.raises(ValueError, match="fcntl takes F_GETFL, .* not 5"):
        posix.fcntl(pair[0], fcntl.F_GETLK, 0)


# ---- Addresses ----


def refuse(fd, address, error, message):
    for call in posix.connect, posix.bind, lambda fd, to: posix.sendto(fd, b"", to):
        with pytest.raises(error, match=message):
            call(fd, address)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("localhost:9000", ValueError, r'neither \(host, port\) nor a path: write \("localhost"'),
        ("/tmp/\0x", ValueError, r"no NUL inside, this one does: '/tmp/\\x00x'"),
        (b"/tmp/x\0", ValueError, "no NUL inside"),
        ("/" + 107 * "x", ValueError, "at most 107 bytes, this one has 108: '/xx"),
        (b"\0" + 108 * b"x", ValueError, "this one has 109"),
        (("localhost", 1), ValueError, r"'localhost' is not a numeric IPv4 address .*resolve"),
        (("127.0.0.256", 1), ValueError, "'127.0.0.256' is not a numeric IPv4"),
        (("127.0.0.1\0", 1), ValueError, "not a numeric IPv4"),
        (("::ffff:1.2.3", 1), ValueError, "not a numeric IPv6"),
        (("127.0.0.1", 1, 0, 0), ValueError, "'127.0.0.1' is not a numeric IPv6"),
        (("127.0.0.1", 65536), ValueError, "a port must be 0 to 65535, not 65536"),
        (("127.0.0.1", -1), ValueError, "a port must be 0 to 65535, not -1"),
        (("127.0.0.1", "80"), TypeError, "a port must be an int, not '80'"),
        (("::1", 1, -1, 0), ValueError, "flowinfo must be 0 to 1048575, not -1"),
        (("::1", 1, 0, 2**32), ValueError, "a scope id must be 0 to 4294967295"),
        (("fe80::1%no such", 1), ValueError, "no interface is called 'no such', .*'fe80::1%no "),
        (("fe80::1%\0", 1), ValueError, "no interface is called"),
        (("fe80::1%99999999999", 1), ValueError, "a scope id must be"),
        (("fe80::1%lo", 1, 0, 99), ValueError, "names two scopes: 'lo' and 99"),
        (("127.0.0.1",), TypeError, r"an address is \(host, port\), .* or a path, not \('127"),
        ((1, "127.0.0.1"), TypeError, "an address is"),
        (["127.0.0.1", 1], TypeError, "an address is"),
        (9000, TypeError, "an address is .* not 9000"),
        (None, TypeError, "an address is"),
    ],
)
def test_an_address_that_is_none(udp, address, error, message):
    refuse(udp[0], address, error, message)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("::1", 9)),
        (socket.AF_INET, "/tmp/socket"),
        (socket.AF_UNIX, ("127.0.0.1", 9)),
    ],
)
def test_an_address_of_another_family(keep, family, address):
    (fd,) = keep(posix.socket(family, socket.SOCK_DGRAM))
    name = socket.AddressFamily(family).name
    refuse(fd, address, OSError, rf": \w+\({fd}, .*\), but the socket is {name}")


def test_a_refused_connection_names_the_address(keep):
    fd, closed = keep(*(posix.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2)))
    posix.bind(closed, ("127.0.0.1", 0))
    address = posix.getsockname(closed)
    with pytest.raises(ConnectionRefusedError) as caught:
        posix.connect(fd, address)
    assert str(caught.value) == f"[Errno 111] Connection refused: connect({fd}, {address})"
    assert caught.value.errno == 111


def test_an_address_in_use_is_named(keep):
    first, second = keep(*(posix.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2)))
    posix.bind(first, ("127.0.0.1", 0))
    with pytest.raises(OSError, match=r"Address already in use: bind\(\d+, \('127.0.0.1', \d+\)\)"):
        posix.bind(second, posix.getsockname(first))


def test_a_socket_of_no_family():
    with pytest.raises(OSError, match=r"socket\(9999, 1\)"):
        posix.socket(9999, socket.SOCK_STREAM)
    with pytest.raises(OSError, match=r"socketpair\(2, 1\)"):
        posix.socketpair(socket.AF_INET)


def test_a_pipe_with_a_wrong_flag():
    with pytest.raises(OSError, match=r"Invalid argument: pipe\(1\)"):
        posix.pipe(posix.O_WRONLY)


@pytest.mark.parametrize("path", ["/tmp/\0x", b"\0"])
def test_mkfifo_refuses_nul(path):
    with pytest.raises(ValueError, match="no NUL inside"):
        posix.mkfifo(path)


# ---- Buffers ----

INTO = {
    "recv_into": posix.recv_into,
    "recvfrom_into": posix.recvfrom_into,
    "recvmsg_into": lambda fd, buffer: posix.recvmsg_into(fd, [bytearray(1), buffer]),
}
FROM = {
    "send": posix.send,
    "sendto": lambda fd, data: posix.sendto(fd, data, "/x"),
    "sendmsg": lambda fd, data: posix.sendmsg(fd, [b"x", data]),
    "ancillary": lambda fd, data: posix.sendmsg(fd, [b"x"], [(1, 1, data)]),
    "setsockopt": lambda fd, data: posix.setsockopt(fd, 1, 1, data),
}


def read_only_array():
    array = np.zeros(4)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("call", INTO)
@pytest.mark.parametrize(
    "buffer", [b"1234", memoryview(b"1234"), read_only_array()], ids=["bytes", "view", "array"]
)
def test_a_buffer_that_cannot_be_written(pair, call, buffer):
    posix.send(pair[1], b"data")
    kind = type(buffer).__name__
    with pytest.raises(BufferError, match=f"a contiguous, writable buffer .* not this {kind}"):
        INTO[call](pair[0], buffer)
    assert posix.recv(pair[0], 10) == b"data"


@pytest.mark.parametrize("call", [*INTO, *FROM])
@pytest.mark.parametrize(
    "buffer",
    [np.zeros((4, 4))[:, ::2], np.asfortranarray(np.zeros((2, 3))), memoryview(bytearray(9))[::2]],
    ids=["strided", "fortran", "view"],
)
def test_memory_that_is_not_contiguous(pair, call, buffer):
    with pytest.raises(BufferError, match="a contiguous.* buffer is needed, not this .*ontiguous"):
        (INTO | FROM)[call](pair[0], buffer)


@pytest.mark.parametrize("call", [*INTO, *FROM])
@pytest.mark.parametrize(
    "dtype", [object, [("number", "i4"), ("thing", object)], [("time", "M8[s]"), ("thing", object)]]
)
def test_arrays_of_objects_are_never_filled_with_bytes(pair, call, dtype):
    posix.send(pair[1], bytes(100))
    array = np.empty(3, dtype)
    with pytest.raises(TypeError, match="plain values is needed, this ndarray holds Python obj"):
        (INTO | FROM)[call](pair[0], array)
    repr(array)


@pytest.mark.parametrize("call", [*INTO, *FROM])
def test_what_is_no_buffer(pair, call):
    for wrong, kind in ("text", "str"), (None, "NoneType"), ([1, 2], "list"):
        with pytest.raises(TypeError, match=f"bytes-like object is required, not '{kind}'"):
            (INTO | FROM)[call](pair[0], wrong)


def test_a_released_buffer(pair):
    view = memoryview(bytearray(4))
    view.release()
    with pytest.raises(BufferError, match="released"):
        posix.send(pair[0], view)


@pytest.mark.parametrize("call", [posix.recv_into, posix.recvfrom_into])
@pytest.mark.parametrize("size", [-1, 5, 2**40])
def test_a_size_that_does_not_fit(pair, call, size):
    with pytest.raises(
        ValueError, match=rf"4 bytes, and no room for {size}|size must be from 0 to \d+, not {size}"
    ):
        call(pair[0], bytearray(4), size)


@pytest.mark.parametrize("call", [posix.recv, posix.recvfrom, posix.recvmsg])
def test_a_size_that_is_no_size(pair, call):
    with pytest.raises(ValueError, match="size must be from 0 to 2147479552, not -1"):
        call(pair[0], -1)
    with pytest.raises(ValueError, match=f"not {sys.maxsize}"):
        call(pair[0], sys.maxsize)


def test_other_sizes_below_zero(pair):
    with pytest.raises(ValueError, match=r"ancillary_size must be from 0 to \d+, not -2"):
        posix.recvmsg(pair[0], 1, -2)
    with pytest.raises(ValueError, match=r"^size must be from 0 to \d+, not -3"):
        posix.getsockopt(pair[0], socket.SOL_SOCKET, socket.SO_LINGER, -3)


def test_ancillary_data_that_is_none(pair):
    for wrong in [(1, 1)], [1], [(1, "1", b"")]:
        with pytest.raises((TypeError, ValueError)):
            posix.sendmsg(pair[0], [b"x"], wrong)


RESIZE = {
    "bytearray": (lambda: bytearray(4), lambda buffer: buffer.extend(b"x")),
    "clear": (lambda: bytearray(4), lambda buffer: buffer.clear()),
    "release": (lambda: memoryview(bytearray(4)), lambda view: view.release()),
}


@pytest.mark.parametrize("how", RESIZE)
@pytest.mark.parametrize("call", INTO)
def test_a_buffer_is_held_while_a_call_fills_it(pair, call, how):
    make, change = RESIZE[how]
    buffer = make()
    waiting = Call(lambda: INTO[call](pair[0], buffer))
    waiting.wait_asleep()
    with pytest.raises(BufferError):
        change(buffer)
    posix.send(pair[1], b"-data")
    waiting.wait_result()
    assert bytes(buffer) in (b"-dat", b"data")
    change(buffer)


def test_a_buffer_is_held_while_a_call_sends_it(pair):
    posix.setsockopt(pair[0], socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    data = bytearray(1 << 20)
    waiting = Call(lambda: posix.send(pair[0], data))
    waiting.wait_asleep()
    with pytest.raises(BufferError):
        data.clear()
    received = 0
    while received < len(data):
        received += len(posix.recv(pair[1], 1 << 16))
    assert waiting.wait_result() == 1 << 20
    data.clear()


# ---- Timeouts and signals ----


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf")])
def test_a_timeout_that_is_none(pair, timeout):
    with pytest.raises(ValueError, match="timeout must be None or at least 0 seconds, not"):
        posix.poll([(pair[0], posix.POLLIN)], timeout)


def test_a_timeout_of_another_type(pair):
    with pytest.raises(TypeError):
        posix.poll([(pair[0], posix.POLLIN)], "1")


class Stop(Exception):
    pass


@pytest.fixture
def handle():
    """Sets the handler of SIGUSR1 for the test."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


def connect_slowly(keep):
    """A call that connects to a listener without room, and what makes room for it."""
    path = b"\0fastsock full %d" % os.getpid()
    listener, first, second = keep(
        *(posix.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3))
    )
    posix.bind(listener, path)
    posix.listen(listener, 0)
    posix.connect(first, path)
    return lambda: posix.connect(second, path), lambda: keep(posix.accept(listener)[0])


def fill(fd):
    """Fills what the kernel holds for a socket."""
    while True:
        try:
            posix.send(fd, bytes(1 << 16), posix.MSG_DONTWAIT)
        except BlockingIOError:
            return


def blocking_calls(pair, keep):
    """Calls that block, each with what ends it."""
    (listener,) = keep(posix.socket(socket.AF_INET, socket.SOCK_STREAM))
    posix.bind(listener, ("127.0.0.1", 0))
    posix.listen(listener)
    (client,) = keep(posix.socket(socket.AF_INET, socket.SOCK_STREAM))
    address = posix.getsockname(listener)
    (source,) = keep(os.open(__file__, os.O_RDONLY))

    def feed():
        posix.send(pair[1], b"x")

    def drain():
        posix.recv(pair[1], 1 << 20)

    return {
        "recv": (lambda: posix.recv(pair[0], 1), feed),
        "recv_into": (lambda: posix.recv_into(pair[0], bytearray(1)), feed),
        "recvfrom": (lambda: posix.recvfrom(pair[0], 1), feed),
        "recvfrom_into": (lambda: posix.recvfrom_into(pair[0], bytearray(1)), feed),
        "recvmsg": (lambda: posix.recvmsg(pair[0], 1), feed),
        "recvmsg_into": (lambda: posix.recvmsg_into(pair[0], [bytearray(1)]), feed),
        "poll": (lambda: posix.poll([(pair[0], posix.POLLIN)], 50), feed),
        "recvmmsg": (
            lambda: posix.recvmmsg(pair[0], [bytearray(1)], np.zeros(1, np.int64)),
            feed,
        ),
        "recv_each": (
            lambda: posix.recv_each(np.array(pair[:1], np.int32), np.zeros((1, 1), np.uint8), 0),
            feed,
        ),
        "send": (lambda: fill(pair[0]) or posix.send(pair[0], b"x"), drain),
        "sendmsg": (lambda: fill(pair[0]) or posix.sendmsg(pair[0], [b"x"]), drain),
        "sendmmsg": (lambda: fill(pair[0]) or posix.sendmmsg(pair[0], [b"x"]), drain),
        "send_each": (
            lambda: fill(pair[0]) or posix.send_each(np.array(pair[:1], np.int32), b"x", 0),
            drain,
        ),
        "sendfile": (lambda: fill(pair[0]) or posix.sendfile(pair[0], source, 0, 1), drain),
        "accept": (
            lambda: keep(posix.accept(listener)[0]),
            lambda: posix.connect(client, address),
        ),
        "connect": connect_slowly(keep),
    }


BLOCKING = [
    *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "recvmmsg"),
    *("recv_each", "poll", "send", "sendmsg", "sendmmsg", "send_each", "sendfile", "accept"),
    "connect",
]


@pytest.mark.parametrize("name", BLOCKING)
def test_a_signal_in_the_middle_of_a_call(pair, keep, handle, name):
    call, end = blocking_calls(pair, keep)[name]
    handled = []
    enough = threading.Event()

    def handler(*_):
        handled.append(1)
        if len(handled) == 3:
            enough.set()

    handle(handler)
    signals = signal_until(enough, signal.SIGUSR1)
    ender = Call(lambda: enough.wait(10) and end())
    call()
    signals.wait_result()
    ender.wait_result()
    assert len(handled) >= 3


@pytest.mark.parametrize("name", BLOCKING)
def test_a_handler_that_raises_ends_the_call(pair, keep, handle, name):
    call, end = blocking_calls(pair, keep)[name]
    raised = threading.Event()

    def handler(*_):
        if not raised.is_set():
            raised.set()
            raise Stop

    handle(handler)
    signals = signal_until(raised, signal.SIGUSR1)
    with pytest.raises(Stop):
        call()
    signals.wait_result()
    assert posix.send(pair[1], b"x") == 1


def test_a_signal_in_the_middle_of_a_tcp_connect(keep, handle):
    listener, first, second = keep(
        *(posix.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(3))
    )
    posix.bind(listener, ("127.0.0.1", 0))
    posix.listen(listener, 0)
    address = posix.getsockname(listener)
    posix.connect(first, address)
    handled = threading.Event()
    handle(lambda *_: handled.set())
    signals = signal_until(handled, signal.SIGUSR1)
    ender = Call(lambda: handled.wait(10) and keep(posix.accept(listener)[0]))
    posix.connect(second, address)  # the listener has no room until the signal was handled
    signals.wait_result()
    ender.wait_result()
    assert handled.is_set()
    assert posix.getpeername(second) == address
