"""Where servers listen: several addresses, both families, abstract names, sockets handed in."""

import errno
import os
import resource
import socket
import ssl
import subprocess
import sys

import pytest
from calls import Call
from conftest import WAIT, read_exactly, wait_until

import fastsock
from fastsock import Client, MultiServer, SingleServer, rpc
from fastsock.core.address import show
from fastsock.rpc.matchmaker.service import Matchmaker

HOME = ("127.0.0.1", 0)
HOME6 = ("::1", 0)


class Greeter:
    @rpc.method
    def greet(self) -> str:
        return "hello"


def serve_rpc(*where, **options):
    return rpc.serve(Greeter(), *where, **options)


KINDS = pytest.mark.parametrize("kind", [MultiServer, SingleServer, serve_rpc])


def assert_serves(server, address):
    """A client that calls there is served."""
    if isinstance(server, rpc.Server):
        with rpc.connect(Greeter, address, timeout=WAIT) as stub:
            assert stub.greet() == "hello"
        return
    with Client.connect(address, timeout=WAIT, linger=0) as client:
        if isinstance(server, SingleServer):
            conn = server.accept(timeout=WAIT)
            client.close()
            conn.close()
        else:
            server.wait_connections(1, timeout=WAIT)
            server.broadcast(b"hello")
            server.flush()
            assert client.recv(timeout=WAIT) == b"hello"
    if isinstance(server, MultiServer):
        while server.connections:
            server.poll(timeout=WAIT)


def listening(family=socket.AF_INET, address=HOME):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen()
    return sock


def is_refused(address):
    try:
        Client.connect(address, timeout=WAIT).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def two_families(monkeypatch):
    """A name that stands for both loopback addresses, as localhost does on most machines."""
    found = socket.getaddrinfo

    def look_up(host, port, *rest, **options):
        if host != "both.test" or options.get("flags", 0) & socket.AI_NUMERICHOST:
            return found(host, port, *rest, **options)
        return [
            each
            for numeric in ("127.0.0.1", "::1", "127.0.0.1")
            for each in found(numeric, port, *rest, **options)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return "both.test"


# ---- Several addresses ----


@KINDS
def test_a_list_of_addresses_of_every_kind(kind, tmp_path):
    path, name = str(tmp_path / "socket"), f"@fastsock-{os.getpid()}-list"
    with kind([HOME, HOME6, path, name]) as server:
        first, second = server.addresses[:2]
        assert first[0] == "127.0.0.1" and second[0] == "::1"
        assert server.addresses == (first, second, path, name)
        assert server.address == first
        for address in server.addresses:
            assert_serves(server, address)
    for address in (first, second, name):
        assert is_refused(address)
    assert not os.path.exists(path)


@KINDS
def test_a_host_name_listens_on_all_its_addresses_at_one_port(kind, two_families):
    with kind((two_families, 0)) as server:
        (host, port), (host6, port6) = server.addresses
        assert (host, host6) == ("127.0.0.1", "::1") and port == port6 != 0
        for address in server.addresses:
            assert_serves(server, address)


def test_another_port_is_tried_if_the_second_address_lacks_it(two_families, monkeypatch):
    taken = []
    bind = socket.socket.bind

    def take_first(sock, address):
        """Somebody takes the port of the first address at the second one, twice."""
        if sock.family == socket.AF_INET6 and len(taken) < 2:
            other = socket.socket(socket.AF_INET6)
            taken.append(other)
            bind(other, address)
            other.listen()
        bind(sock, address)

    monkeypatch.setattr(socket.socket, "bind", take_first)
    with MultiServer((two_families, 0)) as server:
        ports = [address[1] for address in server.addresses]
        assert len(set(ports)) == 1
        assert ports[0] not in [other.getsockname()[1] for other in taken]
    for other in taken:
        other.close()


def test_a_free_port_is_sought_a_bounded_number_of_times(two_families, monkeypatch):
    tries = []

    def refuse(sock, address):
        tries.append(address)
        raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(OSError, match="cannot listen on both.test:0 .*: Address already in use"):
        MultiServer((two_families, 0))
    assert len(tries) == 16


def test_a_family_that_the_machine_lacks_is_left_out_of_a_host_name(two_families, monkeypatch):
    bind = socket.socket.bind

    def lack(sock, address):
        if sock.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no such address")
        bind(sock, address)

    monkeypatch.setattr(socket.socket, "bind", lack)
    with MultiServer((two_families, 0)) as server:
        assert [address[0] for address in server.addresses] == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"cannot listen on \[::1\]:0: Cannot assign"):
        MultiServer([HOME, HOME6])


@KINDS
def test_if_one_address_is_taken_nothing_stays_open(kind, tmp_path):
    path = tmp_path / "socket"
    with socket.socket() as free, listening() as taken:
        free.bind(HOME)
        unused, used = free.getsockname(), taken.getsockname()
        free.close()
        with pytest.raises(OSError, match=f"cannot listen on {show(used)}: Address already in"):
            kind([unused, path, used])
        assert is_refused(unused)
        assert not path.exists()


@KINDS
def test_errors_say_where_a_server_can_listen(kind):
    with pytest.raises(ValueError, match="address must hold at least one"):
        kind([])
    with pytest.raises(ValueError, match="listens on at most 64 sockets, not on 65"):
        kind([HOME] * 65)
    with pytest.raises(ValueError, match="dual_stack=True is for the host '::'"):
        kind(HOME, dual_stack=True)
    with pytest.raises(TypeError, match="dual_stack must be a bool, not 1"):
        kind(("::", 0), dual_stack=1)


@pytest.mark.parametrize("kind", [MultiServer, SingleServer])
def test_a_server_has_to_listen_somewhere(kind):
    with pytest.raises(TypeError, match="give an address, socket= or fd="):
        kind()


@KINDS
def test_dual_stack_takes_both_families_and_shows_addresses_as_they_are(kind):
    with kind(("::", 0), dual_stack=True) as server:
        port = server.address[1]
        assert_serves(server, ("127.0.0.1", port))
        assert_serves(server, ("::1", port))
    with kind(("::", 0)) as server:
        assert is_refused(("127.0.0.1", server.address[1]))


def test_the_peer_of_a_dual_stack_server_has_its_ipv4_address():
    with (
        SingleServer(("::", 0), dual_stack=True, linger=0) as server,
        socket.create_connection(("127.0.0.1", server.address[1])) as caller,
        server.accept(timeout=WAIT) as conn,
    ):
        assert conn.peer == caller.getsockname()
        assert conn.address == caller.getpeername()


def test_rpc_with_a_token_at_every_kind_of_address(tmp_path):
    name = f"@fastsock-{os.getpid()}-token"
    where = [HOME, ("::", 0), tmp_path / "socket", name]
    with rpc.serve(Greeter(), where, dual_stack=True, token="secret") as server:
        both = ("127.0.0.1", server.addresses[1][1])
        for address in (server.addresses[0], both, *server.addresses[2:]):
            with rpc.connect(Greeter, address, token="secret", timeout=WAIT) as stub:
                assert stub.greet() == "hello"


def test_a_matchmaker_tells_of_an_abstract_name():
    name = f"@fastsock-{os.getpid()}-told"
    with (
        rpc.serve(Matchmaker()) as matchmaker,
        rpc.serve(Greeter(), name, matchmaker=matchmaker.address),
        rpc.connect(Greeter, matchmaker=matchmaker.address, timeout=WAIT) as stub,
    ):
        assert stub.greet() == "hello"


# ---- Abstract names ----


def test_an_abstract_name_is_shown_as_it_is_given():
    name = f"@fastsock-{os.getpid()}"
    with SingleServer(name, linger=0) as server:
        assert server.address == name
        assert repr(server) == f"<SingleServer {name}>"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.bind("\0" + name[1:] + "-caller")
            caller.connect("\0" + name[1:])
            with server.accept(timeout=WAIT) as conn:
                assert (conn.peer, conn.address) == (name + "-caller", name)
        with Client.connect(name, timeout=WAIT, linger=0) as client:
            assert client.peer == name
        with pytest.raises(OSError, match=f"cannot listen on {name}: Address already in use"):
            MultiServer(name)
    with pytest.raises(OSError, match=f"cannot connect to {name}: Connection refused"):
        Client.connect(name, timeout=WAIT)


def test_what_begins_with_an_at_sign_is_a_file_if_it_is_written_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("./@file", tmp_path.__class__("@file")):
        with MultiServer(path) as server:
            assert (tmp_path / "@file").exists()
            Client.connect(server.address, timeout=WAIT).close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("@", "name of an abstract UNIX address must not be empty"),
        ("@a\0b", "name must not contain NUL"),
        ("@" + "n" * 108, "name of a UNIX socket must be at most 107 bytes, not 109"),
    ],
)
def test_names_that_cannot_be(name, message):
    with pytest.raises(ValueError, match=message):
        MultiServer(name)


def test_the_longest_name():
    name = "@" + f"{os.getpid()}-".ljust(106, "n")
    with MultiServer(name) as server:
        assert_serves(server, name)


# ---- Sockets handed in ----


@KINDS
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listening_socket_handed_in(kind, family):
    sock = listening(family, HOME if family == socket.AF_INET else HOME6)
    address = sock.getsockname()[:2]
    with kind(socket=sock) as server:
        assert sock.fileno() == -1
        assert server.addresses == (address,)
        assert_serves(server, address)
    assert is_refused(address)


@KINDS
def test_descriptors_and_sockets_beside_an_address(kind):
    first, second = listening(), fastsock.create_server(HOME)
    third = listening(socket.AF_UNIX, f"\0fastsock-{os.getpid()}-third")
    with kind(HOME, socket=[second], fd=[first.detach(), third.detach()]) as server:
        assert len(server.addresses) == 4
        for address in server.addresses:
            assert_serves(server, address)


@KINDS
def test_the_file_of_a_socket_handed_in_is_not_removed(kind, tmp_path):
    path = tmp_path / "socket"
    with kind(socket=listening(socket.AF_UNIX, str(path))) as server:
        assert server.address == str(path)
        assert_serves(server, path)
    assert path.exists()


@KINDS
def test_who_shares_the_socket_goes_on_listening(kind):
    sock = listening()
    with socket.socket(fileno=os.dup(sock.fileno())) as shared:
        with kind(socket=sock) as server:
            address = server.address
            assert_serves(server, address)
        with socket.create_connection(address, timeout=WAIT):
            wait_until(lambda: not isinstance(take(shared), BlockingIOError), "the caller is there")


def take(listener):
    try:
        listener.accept()[0].close()
    except BlockingIOError as error:
        return error
    return None


def closed_socket():
    sock = socket.socket()
    sock.close()
    return sock


@pytest.mark.parametrize("kind", [MultiServer, SingleServer])
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (socket.socket, ValueError, "does not listen: call its listen"),
        (lambda: socket.socket(type=socket.SOCK_DGRAM), ValueError, "must be a stream socket"),
        (closed_socket, ValueError, "is closed"),
        (
            lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(listening(), True),
            TypeError,
            "speaks TLS, which would be left out here",
        ),
    ],
)
def test_what_cannot_be_listened_on_stays_the_callers(kind, make, error, message):
    with make() as sock:
        fd = sock.fileno()
        with pytest.raises(error, match=message):
            kind(socket=sock)
        assert sock.fileno() == fd
        if fd >= 0 and not isinstance(sock, ssl.SSLSocket):
            with pytest.raises(error, match=f"fd {fd} " + message):
                kind(HOME, fd=fd)
            os.fstat(fd)


@pytest.mark.parametrize("kind", [MultiServer, SingleServer])
def test_descriptors_that_are_none(kind):
    reader, writer = os.pipe()
    with pytest.raises(OSError, match=f"fd {reader}: Socket operation on non-socket"):
        kind(fd=reader)
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match=f"fd {writer}: Bad file descriptor"):
        kind(fd=writer)
    for wrong, error in ((-1, ValueError), (True, TypeError), ("3", TypeError)):
        with pytest.raises(error, match="fd must be"):
            kind(fd=wrong)
    with listening() as sock, pytest.raises(ValueError, match="handed in twice"):
        kind(socket=sock, fd=sock.fileno())


@KINDS
def test_a_socket_stays_the_callers_if_an_address_is_taken(kind):
    with listening() as sock, listening() as taken:
        with pytest.raises(OSError, match="Address already in use"):
            kind(taken.getsockname(), socket=sock)
        assert sock.getblocking()
        with socket.create_connection(sock.getsockname(), timeout=WAIT):
            sock.accept()[0].close()


def test_a_child_that_outlives_its_parent_holds_no_port_of_a_single_server():
    program = """
import os, sys
from fastsock import SingleServer
server = SingleServer(("127.0.0.1", 0))
print(server.address[1], flush=True)
if os.fork() == 0:
    try:
        server.accept(timeout=1)
    except RuntimeError as error:
        print(error, flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    port = int(child.stdout.readline())
    assert "belongs to the process that forked this one" in child.stdout.readline()
    child.wait(WAIT)
    with SingleServer(("127.0.0.1", port)) as server:
        assert server.address[1] == port
    child.stdin.close()
    child.stdout.close()


# ---- Sockets of clients ----


@pytest.mark.parametrize("descriptor", [False, True])
def test_a_connected_socket_handed_in(descriptor):
    one, other = socket.socketpair()
    given = one.detach() if descriptor else one
    with other, Client.from_socket(given, framing="length") as client:
        assert client.peer == ""
        client.send(b"hello")
        assert read_exactly(other, 9) == b"\0\0\0\5hello"
        other.sendall(b"\0\0\0\2hi")
        assert client.recv(timeout=WAIT) == b"hi"
        assert one.fileno() == -1
        with pytest.raises(RuntimeError, match="for a client that connect"):
            client.reconnect()


def test_a_connected_socket_of_tcp_tells_its_peer():
    with (
        listening() as server,
        socket.create_connection(server.getsockname()) as sock,
        server.accept()[0] as accepted,
        Client.from_socket(sock, linger=0) as client,
    ):
        assert client.peer == server.getsockname()
        accepted.sendall(b"line\n")
        assert client.recv(timeout=WAIT) == b"line"


def test_what_is_not_connected_stays_the_callers():
    with socket.socket() as sock, listening() as listener:
        for each in (sock, listener):
            with pytest.raises(ValueError, match="is not connected"):
                Client.from_socket(each)
            with pytest.raises(ValueError, match=f"fd {each.fileno()} is not connected"):
                Client.from_socket(each.fileno())
            assert each.fileno() >= 0
        with pytest.raises(ValueError, match="framing must be one of"):
            Client.from_socket(sock, framing="lines")


# ---- What systemd hands in ----

STARTER = """
import os, socket, sys
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
for place, each in enumerate(listeners, 3):
    os.dup2(each.fileno(), place) if each.fileno() != place else os.set_inheritable(place, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "2"
os.environ["LISTEN_FDNAMES"] = "one:two"
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

STARTED = """
import os, sys
import fastsock
fds = fastsock.listen_fds()
assert fds == {3: "one", 4: "two"}, fds
assert not any(name.startswith("LISTEN_") for name in os.environ)
assert not any(map(os.get_inheritable, fds))
assert fastsock.listen_fds() == {}
with fastsock.MultiServer(fd=list(fds)) as server:
    print(*(port for _, port in server.addresses), flush=True)
    server.wait_connections(2, timeout=10)
"""


def test_descriptors_of_a_socket_unit():
    started = subprocess.Popen(
        [sys.executable, "-c", STARTER, STARTED], stdout=subprocess.PIPE, text=True
    )
    for port in started.stdout.readline().split():
        Client.connect(("127.0.0.1", int(port)), timeout=WAIT).close()
    assert started.wait(WAIT) == 0
    started.stdout.close()


@pytest.fixture
def environment(monkeypatch):
    def fill(**variables):
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return fill


def test_descriptors_of_another_process_are_not_taken(environment):
    environment()
    assert fastsock.listen_fds() == {}
    environment(LISTEN_PID=os.getppid(), LISTEN_FDS=1)
    assert fastsock.listen_fds(unset=False) == {}
    assert os.environ["LISTEN_FDS"] == "1"
    assert fastsock.listen_fds() == {}
    assert "LISTEN_FDS" not in os.environ


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ({"LISTEN_FDS": "many"}, ValueError, "LISTEN_FDS must be an int from 0 to .*, not 'many'"),
        ({"LISTEN_FDS": "-1"}, ValueError, "LISTEN_FDS must be"),
        ({"LISTEN_FDS": "1" * 30}, ValueError, "LISTEN_FDS must be"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, ValueError, "2 names for LISTEN_FDS=1"),
        ({"LISTEN_FDS": "60000"}, OSError, "descriptor [0-9]+ of LISTEN_FDS=60000: Bad file"),
    ],
)
def test_variables_that_cannot_be(environment, variables, error, message):
    environment(LISTEN_PID=os.getpid(), **variables)
    with pytest.raises(error, match=message):
        fastsock.listen_fds()
    assert "LISTEN_FDS" not in os.environ


def test_no_descriptors_without_names(environment):
    environment(LISTEN_PID=os.getpid(), LISTEN_FDS=0, LISTEN_FDNAMES="")
    assert fastsock.listen_fds() == {}


# ---- Out of descriptors ----


@pytest.fixture
def no_descriptors():
    """Takes all descriptors away when it is called, until the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_away():
        spare = os.dup(0)
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))

    yield take_away
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_accept_of_a_single_server_refuses_and_waits_on(no_descriptors, caplog):
    with SingleServer(HOME) as server, socket.socket() as caller:
        caller.settimeout(WAIT)
        no_descriptors()
        call = Call(lambda: server.accept(timeout=0.1))
        caller.connect(server.address)
        assert caller.recv(1) == b""
        assert isinstance(call.wait_result(), TimeoutError)
        assert "callers refused: 1 at 127.0.0.1:" in caplog.text


def test_rpc_refuses_and_those_that_are_there_go_on(no_descriptors, caplog):
    with rpc.serve(Greeter()) as server, socket.socket() as caller:
        caller.settimeout(WAIT)
        with rpc.connect(Greeter, server.address, timeout=WAIT) as stub:
            assert stub.greet() == "hello"
            no_descriptors()
            caller.connect(server.address)
            assert caller.recv(1) == b""
            assert stub.greet() == "hello"
        wait_until(lambda: "callers refused: 1 at 127.0.0.1:" in caplog.text, "the log tells")


def test_a_quiet_server_tells_the_log_of_the_first_one_at_once(no_descriptors, caplog):
    with MultiServer(HOME).start() as server, socket.socket() as caller:
        caller.settimeout(WAIT)
        no_descriptors()
        caller.connect(server.address)
        assert caller.recv(1) == b""
        wait_until(lambda: "callers refused: 1 at 127.0.0.1:" in caplog.text, "the log tells")
        assert server.stats().refused == 1
