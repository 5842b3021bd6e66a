"""fastsock.posix: each call on real sockets, pipes and files."""

import fcntl
import os
import select
import socket
import stat
import struct
import tracemalloc
from array import array
from itertools import pairwise

import numpy as np
import pytest
from calls import Call

from fastsock import posix

pytest_plugins = ("descriptors",)


# ---- Descriptors ----


def test_descriptors_are_close_on_exec(keep, tmp_path):
    fds = keep(posix.socket(socket.AF_INET, socket.SOCK_STREAM), *posix.socketpair(), *posix.pipe())
    assert not any(os.get_inheritable(fd) for fd in fds)


def test_socket_takes_flags_with_its_type(keep):
    (fd,) = keep(posix.socket(socket.AF_INET, socket.SOCK_DGRAM | posix.SOCK_NONBLOCK))
    assert posix.fcntl(fd, fcntl.F_GETFL) & posix.O_NONBLOCK
    assert posix.getsockopt(fd, socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM


def test_set_nonblocking_and_back(pair):
    posix.set_nonblocking(pair[0])
    with pytest.raises(BlockingIOError, match=rf"recv\({pair[0]}\)"):
        posix.recv(pair[0], 1)
    posix.set_nonblocking(pair[0], False)
    assert str(posix.fcntl(pair[0], fcntl.F_GETFL)) == "O_RDWR"


def test_fcntl_sets_what_it_gets(pair):
    flags = posix.fcntl(pair[0], fcntl.F_GETFL)
    assert flags == posix.O_RDWR
    assert posix.fcntl(pair[0], fcntl.F_SETFL, flags | posix.O_NONBLOCK) == 0
    assert str(posix.fcntl(pair[0], fcntl.F_GETFL)) == "O_RDWR|O_NONBLOCK"
    assert posix.fcntl(pair[0], fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    posix.fcntl(pair[0], fcntl.F_SETFD, 0)
    assert os.get_inheritable(pair[0])


def test_pipe_takes_flags(keep):
    reader, writer = keep(*posix.pipe(posix.O_NONBLOCK))
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"


def test_mkfifo_makes_a_pipe_with_a_name(tmp_path):
    path = tmp_path / "fifo"
    posix.mkfifo(path, 0o600)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError, match=f"mkfifo.*{path}"):
        posix.mkfifo(path)


# ---- Names and connections ----


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_connect_accept_and_names(keep, family, host):
    (listener,) = keep(posix.socket(family, socket.SOCK_STREAM))
    posix.bind(listener, (host, 0))
    posix.listen(listener, 1)
    address = posix.getsockname(listener)
    assert address[0] == host
    assert address[1] > 0
    (client,) = keep(posix.socket(family, socket.SOCK_STREAM))
    posix.connect(client, address)
    server, peer = posix.accept(listener, posix.SOCK_NONBLOCK)
    keep(server)
    assert peer == posix.getsockname(client) == posix.getpeername(server)
    assert posix.getpeername(client) == address
    assert posix.fcntl(server, fcntl.F_GETFL) & posix.O_NONBLOCK
    assert not os.get_inheritable(server)


@pytest.mark.parametrize("kind", [str, bytes, "path"])
def test_unix_paths(keep, tmp_path, kind):
    path = tmp_path / "socket"
    listener, client = keep(*(posix.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)))
    posix.bind(listener, {str: str(path), bytes: os.fsencode(path), "path": path}[kind])
    posix.listen(listener)
    posix.connect(client, path)
    server, peer = posix.accept(listener)
    keep(server)
    assert peer == posix.getsockname(client) == ""
    assert posix.getpeername(client) == str(path)


def test_abstract_unix_names(keep):
    first, second, third = keep(
        *(posix.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3))
    )
    name = b"\0fastsock\0%d" % os.getpid()
    posix.bind(first, name)
    assert posix.getsockname(first) == name
    posix.bind(second, b"")  # the kernel chooses one
    chosen = posix.getsockname(second)
    assert chosen[0] == 0
    assert len(chosen) == 6
    posix.sendto(second, b"hello", name)
    assert posix.recvfrom(first, 10) == (b"hello", chosen)
    posix.sendto(third, b"nobody", name)
    assert posix.recvfrom(first, 10) == (b"nobody", None)


def test_empty_host_is_every_address(keep):
    v4, v6 = keep(*(posix.socket(f, socket.SOCK_STREAM) for f in (socket.AF_INET, socket.AF_INET6)))
    posix.bind(v4, ("", 0))
    assert posix.getsockname(v4)[0] == "0.0.0.0"
    posix.setsockopt(v6, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    posix.bind(v6, ("", 0, 0, 0))
    assert posix.getsockname(v6)[0] == "::"


def test_packed_addresses_come_back():
    index = socket.if_nametoindex("lo")
    for address in [
        ("127.0.0.1", 9000),
        ("::1", 9000, 5, 0),
        ("fe80::1", 9000, 0, index),
        "/tmp/some socket",
        b"\0abstract\0name",
    ]:
        assert posix.unpack_address(posix.pack_address(address)) == address
    assert posix.unpack_address(posix.pack_address(("fe80::1%lo", 1)))[3] == index
    assert posix.unpack_address(posix.pack_address((f"fe80::1%{index}", 1)))[3] == index
    assert posix.unpack_address(posix.pack_address(("::1", 1))) == ("::1", 1, 0, 0)
    assert posix.unpack_address(bytes(28)) is None
    assert posix.unpack_address(b"") is None
    netlink = struct.pack("=HHII", socket.AF_NETLINK, 0, 7, 0)
    assert posix.unpack_address(netlink) == (socket.AF_NETLINK, netlink[2:])


def test_packed_addresses_are_those_of_the_kernel():
    packed = posix.pack_address(("1.2.3.4", 0x5678))
    assert packed == struct.pack("=H", socket.AF_INET) + b"\x56\x78\1\2\3\4" + bytes(8)


def test_options_as_ints_and_as_structures(tcp):
    posix.setsockopt(tcp[0], socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert posix.getsockopt(tcp[0], socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    linger = struct.pack("ii", 1, 7)
    posix.setsockopt(tcp[0], socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert posix.getsockopt(tcp[0], socket.SOL_SOCKET, socket.SO_LINGER, 100) == linger
    assert posix.getsockopt(tcp[0], socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) == b"\1"
    posix.setsockopt(tcp[0], socket.SOL_SOCKET, socket.SO_LINGER, np.zeros(2, np.int32))
    assert bytes(1) == b"\0"  # the interpreter's own one-byte objects were left alone


def test_shutdown_ends_the_stream(pair):
    posix.send(pair[0], b"last")
    posix.shutdown(pair[0], socket.SHUT_WR)
    assert posix.recv(pair[1], 10) == b"last"
    assert posix.recv(pair[1], 10) == b""


# ---- Sending and receiving ----


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"memoryview")[2:],
        array("d", [1.5, 2.5]),
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array(["2024-01-01"], "M8[s]"),
        np.array([(1, 2.0)], [("O", "i4"), ("y", "f8")]),
        np.zeros((0, 4)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_anything_contiguous_is_sent(pair, data):
    expected = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
    assert posix.send(pair[0], data) == len(expected)
    posix.send(pair[0], b".")
    assert posix.recv(pair[1], 100) == expected + b"."


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, "M8[ms]", [("a", "i4"), ("b", "i8")]])
def test_arrays_are_received_into(pair, dtype):
    sent = np.arange(24, dtype=np.uint8).repeat(np.dtype(dtype).itemsize).view(dtype)
    into = np.zeros_like(sent)
    posix.send(pair[0], sent)
    assert posix.recv_into(pair[1], into) == sent.nbytes
    assert into.tobytes() == sent.tobytes()


def test_recv_into_takes_a_size(pair):
    posix.send(pair[0], b"abcdef")
    into = bytearray(6)
    assert posix.recv_into(pair[1], into, 2) == 2
    assert into == b"ab\0\0\0\0"
    assert posix.recv_into(pair[1], into, 6, posix.MSG_PEEK) == 4
    assert posix.recv_into(pair[1], memoryview(into)[2:]) == 4
    assert into == b"cdcdef"


def test_recv_of_nothing(pair):
    posix.send(pair[0], b"x")
    assert posix.recv(pair[1], 0) == b""
    assert posix.recv_into(pair[1], bytearray()) == 0
    assert posix.recv(pair[1], 1) == b"x"


def test_datagrams_with_addresses(udp, keep):
    (third,) = keep(posix.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert posix.sendto(third, b"to you", posix.getsockname(udp[1])) == 6
    data, sender = posix.recvfrom(udp[1], 100)
    assert (data, sender) == (b"to you", ("127.0.0.1", posix.getsockname(third)[1]))
    assert posix.sendto(udp[1], b"back", sender, posix.MSG_NOSIGNAL) == 4
    into = bytearray(10)
    assert posix.recvfrom_into(third, into) == (4, posix.getsockname(udp[1]))
    assert into[:4] == b"back"


def test_a_truncated_datagram_tells_its_size(udp):
    posix.send(udp[0], b"0123456789")
    assert posix.recv_into(udp[1], bytearray(4), 0, posix.MSG_TRUNC | posix.MSG_PEEK) == 10
    assert posix.recv(udp[1], 4, posix.MSG_TRUNC) == b"0123"


def test_recvfrom_on_a_stream_has_no_address(tcp):
    posix.send(tcp[0], b"x")
    assert posix.recvfrom(tcp[1], 1) == (b"x", None)


def test_sendmsg_gathers_and_recvmsg_scatters(pair):
    assert posix.sendmsg(pair[0], [b"ab", bytearray(b"cd"), np.frombuffer(b"ef", np.int16)]) == 6
    parts = [bytearray(1), bytearray(10)]
    count, ancillary, flags, sender = posix.recvmsg_into(pair[1], parts)
    assert (count, ancillary, flags, sender) == (6, [], 0, None)
    assert parts[0] + parts[1] == b"abcdef" + bytes(5)


def test_sendmsg_to_an_address(udp):
    address = posix.getsockname(udp[0])
    posix.sendmsg(udp[1], (b"x", b"y"), (), posix.MSG_DONTWAIT, address)
    assert posix.recvmsg(udp[0], 10) == (b"xy", [], 0, posix.getsockname(udp[1]))


def test_descriptors_travel_as_ancillary_data(pair, keep):
    reader, writer = keep(*posix.pipe())
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [reader, writer]))
    posix.sendmsg(pair[0], [b"x"], [rights])
    data, ancillary, flags, _ = posix.recvmsg(pair[1], 1, socket.CMSG_SPACE(8))
    ((level, kind, packed),) = ancillary
    new_reader, new_writer = keep(*array("i", packed))
    assert (data, level, kind, flags) == (b"x", socket.SOL_SOCKET, socket.SCM_RIGHTS, 0)
    assert not os.get_inheritable(new_reader)
    os.write(new_writer, b"through")
    assert os.read(reader, 10) == b"through"


def test_several_ancillary_items(pair, keep):
    posix.setsockopt(pair[1], socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    (reader, writer) = keep(*posix.pipe())
    credentials = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
    posix.sendmsg(
        pair[0],
        [b"x"],
        [
            (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [reader])),
            (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials),
        ],
    )
    _, ancillary, _, _ = posix.recvmsg(pair[1], 1, 1000)
    found = {kind: data for _, kind, data in ancillary}
    keep(*array("i", found[socket.SCM_RIGHTS]))
    assert found[socket.SCM_CREDENTIALS] == credentials
    assert set(found) == {socket.SCM_RIGHTS, socket.SCM_CREDENTIALS}


def test_truncated_ancillary_data_is_told(pair, keep):
    fds = keep(*posix.pipe())
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
    posix.sendmsg(pair[0], [b"x"], [rights])
    _, ancillary, flags, _ = posix.recvmsg(pair[1], 1)
    assert ancillary == []
    assert str(flags) == "MSG_CTRUNC"


def test_sendfile_sends_a_file(pair, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert posix.sendfile(pair[0], file.fileno(), 4, 3) == 3
        assert posix.sendfile(pair[0], file.fileno(), None, 100) == 10
        assert posix.sendfile(pair[0], file.fileno(), None, 100) == 0
    assert posix.recv(pair[1], 100) == b"4560123456789"


def test_a_large_send_copies_nothing(tcp):
    array_of_8_mb = np.arange(1 << 20, dtype=np.int64)
    received = np.empty_like(array_of_8_mb)

    def receive():
        view = memoryview(received).cast("B")
        while view:
            view = view[posix.recv_into(tcp[1], view) :]

    tracemalloc.start()
    reader = Call(receive)
    assert posix.send(tcp[0], array_of_8_mb) == array_of_8_mb.nbytes
    reader.wait_result()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 18
    assert (received == array_of_8_mb).all()


# ---- Waiting ----


def test_poll_tells_who_is_ready(pair):
    assert posix.poll([(pair[0], posix.POLLIN)], 0) == []
    posix.send(pair[1], b"x")
    both = posix.POLLIN | posix.POLLOUT
    ready = posix.poll([(pair[0], both), (pair[1], posix.POLLIN)])
    assert ready == [(pair[0], both)]
    assert str(ready[0][1]) == "POLLIN|POLLOUT"
    posix.close(pair[1])
    ((_, flags),) = posix.poll([(pair[0], 0)])
    assert flags & posix.POLLHUP


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 2**40, None])
def test_poll_with_a_huge_timeout_waits(pair, timeout):
    call = Call(lambda: posix.poll([(pair[0], posix.POLLIN)], timeout))
    call.wait_asleep()
    posix.send(pair[1], b"x")
    assert call.wait_result() == [(pair[0], select.POLLIN)]


def test_poll_ends_with_its_timeout(pair):
    assert posix.poll([(pair[0], posix.POLLIN)], 0.01) == []
    assert posix.poll([], 0.01) == []


# ---- Flags ----


def test_flags_print_their_names():
    assert str(posix.MSG_DONTWAIT | posix.MSG_PEEK) == "MSG_PEEK|MSG_DONTWAIT"
    assert f"{posix.MSG_NOSIGNAL}" == "MSG_NOSIGNAL"
    assert f"{posix.MSG_NOSIGNAL:>15}" == "   MSG_NOSIGNAL"
    assert str(posix.MsgFlag(0)) == "0"
    assert str(posix.MsgFlag(1 << 40 | 2)) == "MSG_PEEK|1099511627776"
    assert repr(posix.SOCK_NONBLOCK) == f"<SockFlag.SOCK_NONBLOCK: {socket.SOCK_NONBLOCK}>"


@pytest.mark.parametrize("module", [socket, select, os], ids=lambda module: module.__name__)
def test_flags_have_the_values_of_the_standard_library(module):
    shared = [name for name in posix.__all__ if name.isupper() and hasattr(module, name)]
    assert all(getattr(posix, name) == getattr(module, name) for name in shared)
    assert shared


def test_every_flag_is_exported():
    for kind in posix.MsgFlag, posix.SockFlag, posix.OpenFlag, posix.PollFlag:
        for name, flag in kind.__members__.items():
            assert getattr(posix, name) is flag
            assert name in posix.__all__


def test_interface_flags_are_one_bit_each_in_order():
    values = [flag.value for flag in posix.InterfaceFlag]
    assert values[0] == 1
    assert all(second == 2 * first for first, second in pairwise(values))


def test_every_call_has_a_docstring():
    functions = [getattr(posix, name) for name in posix.__all__ if name.islower()]
    assert all(function.__doc__ for function in functions)
