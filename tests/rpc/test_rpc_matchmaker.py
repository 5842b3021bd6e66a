"""The matchmaker: who is registered, who is found, and what happens when somebody dies."""

import logging
import os
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from conftest import WAIT, wait_until
from peers.process import PYTHON
from peers.teller import Teller

from fastsock import net, rpc
from fastsock.rpc.matchmaker import finding, places
from fastsock.rpc.matchmaker.finding import MatchmakerRoute
from fastsock.rpc.matchmaker.registry import Registry, incarnation_of
from fastsock.rpc.matchmaker.service import (
    Instance,
    Location,
    Matchmaker,
    MatchmakerFull,
    Unusable,
)
from fastsock.rpc.wire import place

pytest_plugins = ["peers.fixtures"]

TELLER = str(Path(__file__).parents[1] / "peers" / "teller.py")
LEASE = 2.0
"""Seconds; a third of it is more than a busy machine keeps a server from renewing it."""


@pytest.fixture
def closing():
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def nothing_has_failed(monkeypatch):
    """What did not answer in one test is not passed over in the next."""
    monkeypatch.setattr(finding, "failures", finding._Failures())


@pytest.fixture
def matchmaker(closing):
    """A matchmaker in this process, at a free port."""
    return closing.enter_context(rpc.serve(Matchmaker(lease=LEASE), linger=0.2))


@pytest.fixture
def start(closing):
    """Serves a Teller of that name, which is the server's ``service``."""

    def make(name, matchmaker, address=("127.0.0.1", 0), **options):
        where = getattr(matchmaker, "address", matchmaker)
        options = {"linger": 0.2, "matchmaker": where} | options
        service = Teller(name)
        server = closing.enter_context(rpc.serve(service, address, **options))
        server.service = service
        return server

    return make


@pytest.fixture
def find(closing):
    """Connects a stub of Teller by the matchmaker."""

    def make(matchmaker, **options):
        where = getattr(matchmaker, "address", matchmaker)
        return closing.enter_context(rpc.connect(Teller, matchmaker=where, **options))

    return make


def listed(address, **options):
    """The incarnations that the matchmaker knows."""
    with rpc.connect(Matchmaker, address, **options) as asked:
        return [each.instance.incarnation for each in asked.instances()]


def wait_listed(address, count):
    wait_until(lambda: len(listed(address)) == count, f"{count} servers are registered")


def instance(number=1, service="S", version="1", **changes):
    locations = [Location("192.0.2.1", 1)]
    return Instance(service, version, f"{number:032x}", **({"locations": locations} | changes))


def run_matchmaker(programs, port=0, *options):
    """A matchmaker in a process of its own, and its port."""
    program = programs.start(
        *(*PYTHON, "-m", "fastsock.rpc", "matchmaker"),
        *("--port", str(port), "--lease", str(LEASE), *options),
    )
    return program, int(program.expect("listening on 127.0.0.1:").rpartition(":")[2])


def run_teller(programs, name, port, *listed):
    program = programs.python(TELLER, name, str(port), *listed)
    program.expect("ready")
    return program


# ---- What the matchmaker knows ----


class Known:
    """A registry whose clock the test sets."""

    def __init__(self, lease=4.0, instances_max=1000, per_registrant_max=64):
        self.registry = Registry(lease, instances_max, per_registrant_max)
        self.now = 0.0

    def take(self, instance, registrant="somebody"):
        self.registry.check_room(instance.incarnation, registrant, self.now)
        self.registry.take(instance, instance.locations, registrant, self.now)

    def renew(self, instance, registrant="somebody", untried=1e9):
        return self.registry.renew(instance, registrant, self.now, untried)

    def find(self, service="S", version="1"):
        found = self.registry.find(service, version, self.now)
        return [int(each.incarnation, 16) for each in found]


@pytest.fixture
def known():
    return Known()


def numbered(number, **changes):
    """An instance at an address that no other one has."""
    return instance(number, locations=[Location("192.0.2.1", number)], **changes)


def test_those_who_register_are_found_in_turns(known):
    for number in (1, 2, 3):
        known.take(numbered(number))
    assert [known.find() for _ in range(4)] == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


def test_service_and_version_are_both_asked_for(known):
    known.take(numbered(1))
    known.take(numbered(2, version="2"))
    known.take(numbered(3, service="T"))
    assert known.find("S", "2") == [2]
    assert known.find("T", "2") == []


def test_an_answer_has_at_most_32_servers_and_all_have_their_turn(known):
    for number in range(1, 101):
        known.take(numbered(number), number)
    assert len({known.find()[0] for _ in range(100)}) == 100
    assert len(known.find()) == 32


def test_registering_again_renews_and_does_not_jump_the_queue(known):
    known.take(numbered(1))
    known.take(numbered(2))
    assert known.renew(numbered(1))
    assert known.find() == [1, 2]
    known.take(numbered(1))
    assert known.find() == [2, 1], "the turn of 1 has passed"


def test_only_what_was_tried_is_renewed(known):
    assert not known.renew(numbered(1))
    known.take(numbered(1))
    assert not known.renew(numbered(1, service="T"))
    assert known.renew(numbered(1), untried=1.0)
    known.now = 1.0
    assert not known.renew(numbered(1), untried=1.0), "the trial is too old"


def test_a_server_can_register_with_other_facts(known):
    known.take(numbered(1))
    known.take(numbered(1, service="T"))
    assert known.find() == []
    assert known.find("T") == [1]
    assert [each.instance.service for each in known.registry.listed(0)] == ["T"]


def test_forgetting_is_idempotent(known):
    known.take(numbered(1))
    known.registry.forget(f"{1:032x}")
    known.registry.forget(f"{1:032x}")
    assert known.find() == []


def test_a_lease_ends_and_a_renewed_one_does_not(known):
    known.take(numbered(1))
    known.take(numbered(2))
    known.now = 3.0
    assert known.renew(numbered(2))
    known.now = 4.0
    assert known.find() == [2]
    (listed,) = known.registry.listed(known.now)
    assert (listed.age, listed.left) == (4.0, 3.0)
    known.now = 7.0
    assert known.registry.listed(known.now) == []


def test_there_is_room_for_so_many_and_again_when_leases_end():
    known = Known(instances_max=2)
    known.take(numbered(1), "a")
    known.take(numbered(2), "b")
    known.take(numbered(2), "b")
    with pytest.raises(MatchmakerFull, match="2 servers are registered already"):
        known.take(numbered(3), "c")
    known.now = 4.0
    known.take(numbered(3), "c")
    assert known.find() == [3]


def test_one_client_registers_so_many_and_no_more():
    known = Known(per_registrant_max=3)
    for number in range(1, 4):
        known.take(numbered(number), "a")
    with pytest.raises(MatchmakerFull, match="this client has registered 3 servers already"):
        known.take(numbered(4), "a")
    known.take(numbered(4), "b")
    assert known.renew(numbered(1), "b"), "it has connected anew"
    known.take(numbered(5), "a")


def test_a_full_matchmaker_takes_a_newcomer_for_one_of_a_client_that_has_several():
    known = Known(instances_max=3)
    known.take(numbered(1), "single")
    known.take(numbered(2), "greedy")
    known.take(numbered(3), "greedy")
    known.take(numbered(4), "new")
    assert known.find() == [1, 3, 4]
    with pytest.raises(MatchmakerFull):
        known.take(numbered(5), "late")


def test_a_server_that_is_proved_to_be_at_an_address_takes_the_place_of_an_older_one(known):
    known.take(numbered(1))
    known.take(instance(2, locations=[Location("192.0.2.1", 1)]))
    assert known.find() == [2]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lease": 0}, "lease must be more than 0 and at most 3600 s, not 0"),
        ({"lease": float("nan")}, "not nan"),
        ({"instances_max": 0}, "instances_max must be from 1 to 1000000, not 0"),
        ({"per_registrant_max": 0}, "per_registrant_max must be from 1 to 1000000, not 0"),
    ],
)
def test_limits_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Matchmaker(**options)


# ---- Servers and clients, with a matchmaker ----


def test_a_stub_finds_its_server(matchmaker, start, find):
    server = start("a", matchmaker)
    assert find(matchmaker).who() == "a"
    assert listed(matchmaker.address) == [server.incarnation.hex()]


def test_a_closed_server_is_not_listed_any_more(matchmaker, start, find):
    server = start("a", matchmaker)
    server.close()
    assert listed(matchmaker.address) == []
    with pytest.raises(rpc.Unavailable, match="no server of Teller version 1 at 127.0.0.1:.* is"):
        find(matchmaker)


def test_the_matchmaker_is_not_there(find):
    port = net.free_port()
    with pytest.raises(rpc.Unavailable, match=f"127.0.0.1:{port}: Connection refused"):
        find(("127.0.0.1", port))


def test_stubs_take_turns(matchmaker, start, find):
    for name in "ab":
        start(name, matchmaker)
    assert [find(matchmaker).who() for _ in range(4)] == ["a", "b", "a", "b"]


def test_a_server_outlives_its_first_lease(matchmaker, start):
    server = start("a", matchmaker)

    def age():
        with rpc.connect(Matchmaker, matchmaker.address) as asked:
            return max(each.age for each in asked.instances())

    wait_until(lambda: age() > LEASE, "it renews its lease")
    assert listed(matchmaker.address) == [server.incarnation.hex()]


def test_a_unix_socket_of_this_host_is_preferred(matchmaker, start, find, tmp_path):
    start("far", matchmaker)
    start("near", matchmaker, [("127.0.0.1", 0), str(tmp_path / "socket")])
    assert [find(matchmaker).who() for _ in range(4)] == ["near"] * 4


@pytest.fixture
def without_proc(monkeypatch, tmp_path):
    """As in a jail: there is no /proc."""
    monkeypatch.setattr(place, "PROC", tmp_path / "proc")
    place._boot.cache_clear()
    yield
    place._boot.cache_clear()


@pytest.mark.parametrize("address", [("127.0.0.1", 0), "socket"], ids=["loopback", "unix"])
def test_without_proc_servers_register_and_are_found(
    matchmaker, start, find, tmp_path, without_proc, address
):
    where = str(tmp_path / address) if isinstance(address, str) else address
    start("jailed", matchmaker, where)
    wait_listed(matchmaker.address, 1)
    assert find(matchmaker).who() == "jailed"


def test_a_unix_socket_that_refuses_is_passed_over(matchmaker, start, find, tmp_path):
    start("far", matchmaker)
    near = start("near", matchmaker, str(tmp_path / "socket"))
    near._engine.close()  # It dies, and its file stays.
    (tmp_path / "socket").touch()
    assert find(matchmaker).who() == "far"


def test_the_same_path_elsewhere_is_another_socket(matchmaker, start, find, tmp_path):
    path = str(tmp_path / "socket")
    server = start("here", matchmaker, path, advertise=path)
    with rpc.connect(Matchmaker, matchmaker.address) as asked:
        here = next(iter(asked.instances())).instance
        assert find(matchmaker).who() == "here"
        place = here.locations[0].place.replace("file", "file 9")
        there = [msgspec.structs.replace(here.locations[0], place=place)]
        server._registrar.stop()
        _register(asked, server, locations=there)
        with pytest.raises(rpc.Unavailable, match="no server of Teller"):
            find(matchmaker)


def test_another_service_at_the_address_of_a_dead_server_is_passed_over(matchmaker, start, find):
    """Ports are used again."""
    dead = start("dead", matchmaker)
    port = dead.address[1]
    dead._registrar.stop = lambda: None  # It dies without a word.
    dead.close()
    registrar, dead._registrar = dead._registrar, None
    try:
        with rpc.serve(Matchmaker(), ("127.0.0.1", port), linger=0.2):
            start("right", matchmaker)
            assert [find(matchmaker).who() for _ in range(3)] == ["right"] * 3
    finally:
        type(registrar).stop(registrar)


def test_a_drained_server_is_not_found_and_its_clients_go_elsewhere(matchmaker, start, find):
    first, _ = start("a", matchmaker), start("b", matchmaker)
    stubs = [find(matchmaker) for _ in range(4)]
    assert [stub.who() for stub in stubs] == ["a", "b", "a", "b"]
    running = stubs[0].wait.begin()
    wait_until(lambda: first.health()["running"] == 1, "it runs")
    with pytest.raises(TimeoutError):
        first.drain(0.01)
    assert [stub.who() for stub in stubs] == ["b"] * 4
    first.service.gate.set()
    first.drain(WAIT)
    assert running.result(WAIT) == "a"
    assert find(matchmaker).who() == "b"


def test_an_idle_stub_of_a_server_that_drained_and_closed_goes_elsewhere(matchmaker, start, find):
    first, _ = start("a", matchmaker), start("b", matchmaker)
    stubs = [find(matchmaker) for _ in range(4)]
    first.drain(WAIT)
    first.close()
    assert [stub.who() for stub in stubs] == ["b"] * 4
    assert all(type(stub.who.begin().result(WAIT)) is str for stub in stubs)


def test_the_last_server_drains(matchmaker, start, find):
    server = start("a", matchmaker)
    stub = find(matchmaker)
    server.drain(WAIT)
    with pytest.raises(rpc.Unavailable, match="the server is draining"):
        stub.who()
    start("b", matchmaker)
    wait_until(lambda: _who(stub) == "b", "a new server is found")


def _who(stub):
    try:
        return stub.who()
    except rpc.Unavailable:
        return None


# ---- Tokens ----


def test_strangers_are_kept_out(closing, start, find):
    guarded = closing.enter_context(rpc.serve(Matchmaker(), token="s3cret", linger=0.2))
    start("a", guarded, token="s3cret")
    for token in ("", "other", "s3cre"):
        with pytest.raises(rpc.Forbidden, match="token"):
            listed(guarded.address, token=token)
        with pytest.raises(rpc.Forbidden, match="token"):
            find(guarded, token=token)
        with pytest.raises(rpc.Forbidden, match="token"):
            start("b", guarded, token=token)
    assert len(listed(guarded.address, token="s3cret")) == 1
    assert find(guarded, token="s3cret").who() == "a"


# ---- A matchmaker that does not answer, refuses, or lies ----


def test_a_server_starts_without_its_matchmaker_and_registers_later(closing, start, find, caplog):
    address = "127.0.0.1", net.free_port()
    with caplog.at_level(logging.INFO, "fastsock"):
        server = start("a", address)
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        assert "not registered, will go on trying" in caplog.text
        closing.enter_context(rpc.serve(Matchmaker(lease=LEASE), address, linger=0.2))
        wait_listed(address, 1)
        wait_until(lambda: "registered again" in caplog.text, "it says so")
    assert find(address).who() == "a"
    assert server.health()["status"] == "serving"


def test_a_full_matchmaker_is_asked_until_it_has_room(closing, start, find):
    full = closing.enter_context(rpc.serve(Matchmaker(lease=0.3, instances_max=1), linger=0.2))
    first = start("a", full)
    start("b", full)
    first.close()
    wait_until(lambda: listed(full.address), "the second has the room")
    assert find(full).who() == "b"


def test_a_server_that_is_refused_does_not_start(matchmaker, start):
    """It is no matchmaker: serve() says so, and nothing is left behind."""
    other = start("a", matchmaker)
    with pytest.raises(rpc.VersionMismatch, match="it serves Teller version 1"):
        start("b", other.address)


@pytest.mark.parametrize(
    "advertise, error, message",
    [
        ("localhost:80", ValueError, "must be a tuple"),
        ([], ValueError, "advertise must hold at least one address"),
        (7, TypeError, r"address must be \(host, port\), a path or '@name'"),
        ("/nowhere/at/all", OSError, "No such file"),
        ([("localhost", port) for port in range(1, 10)], ValueError, "at most 8 .*not 9"),
    ],
)
def test_addresses_that_cannot_be_advertised(matchmaker, start, advertise, error, message):
    with pytest.raises(error, match=message):
        start("a", matchmaker, advertise=advertise)


def test_a_server_at_more_addresses_than_a_matchmaker_takes_says_which(matchmaker, start, find):
    many = [("127.0.0.1", 0)] * 9
    with pytest.raises(ValueError, match="at most 8 .*not 9.*advertise="):
        start("a", matchmaker, many)
    port = net.free_port()
    start("a", matchmaker, [("127.0.0.1", port), *many], advertise=("127.0.0.1", port))
    assert find(matchmaker).who() == "a"


def test_a_unix_socket_whose_file_is_gone_is_served_and_not_announced(matchmaker, tmp_path):
    path = tmp_path / "socket"

    def listening():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        path.unlink()
        return sock

    with (
        rpc.serve(Teller("a"), ("127.0.0.1", 0), socket=listening(), token="x") as server,
        rpc.connect(Teller, server.addresses[0], token="x") as stub,
    ):
        assert stub.who() == "a"
    with listening() as sock, pytest.raises(ValueError, match=r"socket is gone: .*advertise="):
        rpc.serve(Teller("a"), socket=sock, matchmaker=matchmaker.address)


def test_advertised_addresses_are_what_clients_get(matchmaker, start):
    port = net.free_port()
    advertise = [("localhost", port), ("127.0.0.1", port)]
    start("a", matchmaker, ("127.0.0.1", port), advertise=advertise)
    with rpc.connect(Matchmaker, matchmaker.address) as asked:
        (found,) = asked.find("Teller", "1")
    assert [each.address for each in found.locations] == advertise
    assert (found.hostname, found.pid) == (socket.gethostname(), os.getpid())


def test_any_address_becomes_that_towards_the_matchmaker(matchmaker, start, find):
    server = start("a", matchmaker, ("0.0.0.0", 0))
    with rpc.connect(Matchmaker, matchmaker.address) as asked:
        (found,) = asked.find("Teller", "1")
    assert found.locations[0].address == ("127.0.0.1", server.address[1])
    assert find(matchmaker).who() == "a"


def test_any_address_and_a_matchmaker_elsewhere():
    (found,) = places.announced([("0.0.0.0", 80)], None, ("192.0.2.1", 7411))
    assert found.port == 80 and found.host not in ("0.0.0.0", "127.0.0.1")
    with pytest.raises(ValueError, match="say with advertise= where clients find it"):
        places.announced([("::", 80)], None, ("192.0.2.1", 7411))


def test_a_loopback_address_leads_nowhere_from_another_host():
    (here,) = places.announced([("127.0.0.1", 80)], None, ("192.0.2.1", 7411))
    assert places.is_here(here)
    assert not places.is_here(msgspec.structs.replace(here, place="elsewhere"))


@pytest.mark.parametrize(
    "changes",
    [
        {"service": ""},
        {"service": "S" * 201},
        {"version": "1" * 201},
        {"incarnation": "abc"},
        {"incarnation": "G" * 32},
        {"locations": []},
        {"locations": [Location("h", 1)] * 9},
        {"locations": [Location("h" * 201, 1)]},
        {"locations": [Location("h", 65536)]},
        {"locations": [Location("h", -1)]},
        {"locations": [Location("h", 1, "p" * 256)]},
        {"hostname": "h" * 256},
        {"pid": "x" * 100_000},
    ],
)
def test_registrations_that_are_too_much_are_refused(matchmaker, changes):
    with rpc.connect(Matchmaker, matchmaker.address) as asked:
        with pytest.raises(rpc.WrongArguments, match="register"):
            asked.register(msgspec.structs.replace(instance(), **changes), "0" * 64)
        assert list(asked.instances()) == []


def test_garbage_does_not_harm_the_matchmaker(matchmaker, start, find):
    start("a", matchmaker)
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\x18" + bytes(24), b"\xff" * 4096):
        with socket.create_connection(matchmaker.address, timeout=WAIT) as peer:
            peer.sendall(garbage)
            peer.shutdown(socket.SHUT_WR)
            while _received(peer):
                pass
    assert find(matchmaker).who() == "a"


def _received(peer):
    try:
        return peer.recv(1 << 16)
    except ConnectionResetError:
        return b""


# ---- Clients of the matchmaker that mean harm ----


def _register(asked, server, **changes):
    """Registers a running server as its registrar does, but for the changes."""
    (told,) = (each for each in [_instance_of(server)])
    return asked.register(msgspec.structs.replace(told, **changes), server._secret.hex())


def _instance_of(server, **changes):
    locations = places.announced(server.addresses, None, ("127.0.0.1", 1))
    return Instance("Teller", "1", server.incarnation.hex(), locations)


def _fake(*locations, service="Teller"):
    """An instance that nobody serves, and its secret."""
    secret = os.urandom(32)
    return Instance(service, "1", incarnation_of(secret).hex(), list(locations)), secret.hex()


@pytest.fixture
def asked(closing, matchmaker):
    return closing.enter_context(rpc.connect(Matchmaker, matchmaker.address, timeout=WAIT))


@pytest.mark.parametrize(
    "location",
    [
        *(Location(host, 80) for host in ("a..b", "x" * 64, "a\0b", " ", "-a", "0.0.0.0", "::")),
        *(Location(host, 0) for host in ("no-slash", "relative/path", "/a\0b")),
    ],
)
def test_what_is_no_address_is_refused(matchmaker, asked, start, find, location):
    start("a", matchmaker)
    with pytest.raises(Unusable, match="is no"):
        asked.register(*_fake(location))
    assert [find(matchmaker).who() for _ in range(4)] == ["a"] * 4


@pytest.mark.parametrize(
    "location", [Location("/nowhere", 0), Location("/x" * 90, 0), Location("127.0.0.1", 1)]
)
def test_where_nobody_answers_is_not_told(asked, location):
    with pytest.raises(Unusable, match="answers at any of its locations"):
        asked.register(*_fake(location))
    assert list(asked.instances()) == []


def test_only_the_server_itself_changes_its_registration(matchmaker, asked, start, find):
    honest = start("honest", matchmaker)
    other = start("other", matchmaker)
    _, wrong = _fake(Location("127.0.0.1", 1))
    theirs = msgspec.structs.replace(_instance_of(other), incarnation=honest.incarnation.hex())
    with pytest.raises(Unusable, match="secret"):
        asked.register(theirs, wrong)
    with pytest.raises(Unusable, match="secret"):
        asked.register(theirs, other._secret.hex())
    with pytest.raises(Unusable, match="secret"):
        asked.unregister(honest.incarnation.hex(), wrong)
    assert sorted(find(matchmaker).who() for _ in range(2)) == ["honest", "other"]


def test_a_server_is_not_told_at_an_address_where_another_one_answers(matchmaker, asked, start):
    honest = start("honest", matchmaker)
    fake, secret = _fake(*_instance_of(honest).locations)
    with pytest.raises(Unusable, match="answers at any"):
        asked.register(fake, secret)
    assert [each.instance.incarnation for each in asked.instances()] == [honest.incarnation.hex()]


def test_a_listener_that_says_nothing_is_not_told_and_delays_nobody(matchmaker, asked, start, find):
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        calls = [asked.register.begin(*_fake(Location(*mute.getsockname()))) for _ in range(4)]
        start("a", matchmaker)
        assert find(matchmaker).who() == "a"
        for call in calls:
            with pytest.raises(Unusable):
                call.result(WAIT)


def test_one_client_has_only_so_many_registrations_tried_at_a_time(asked):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as mute:
        calls = [asked.register.begin(*_fake(Location(*mute.getsockname()))) for _ in range(12)]
        errors = [call.exception(WAIT) for call in calls]
    assert {type(each) for each in errors} == {Unusable, MatchmakerFull}
    assert sum(type(each) is Unusable for each in errors) >= 4


def test_fakes_fill_no_place(closing, start, find):
    small = closing.enter_context(rpc.serve(Matchmaker(lease=LEASE, instances_max=8), linger=0.2))
    asked = closing.enter_context(rpc.connect(Matchmaker, small.address, timeout=WAIT))
    for _ in range(20):
        with pytest.raises(Unusable):
            asked.register(*_fake(Location("127.0.0.1", 1)))
    start("a", small)
    assert find(small).who() == "a"


# ---- The route of a stub ----


def test_what_was_known_holds_while_the_matchmaker_does_not_answer():
    answers = [[instance(1, locations=[Location("192.0.2.1", 1)])], OSError("gone")]
    route = MatchmakerRoute(lambda: _answer(answers), "S version 1 at M")
    assert list(route.addresses()) == [("192.0.2.1", 1)]
    assert list(route.addresses()) == [("192.0.2.1", 1)]
    assert str(route).endswith("is registered, and the matchmaker does not answer: gone")


def test_what_was_never_known_is_an_error():
    route = MatchmakerRoute(lambda: _answer([rpc.Forbidden("no")]), "S")
    with pytest.raises(rpc.Forbidden):
        route.addresses()


def test_where_nobody_answered_is_tried_last():
    known = [instance(n, locations=[Location(f"192.0.2.{n}", 1)]) for n in (1, 2, 3)]
    route = MatchmakerRoute(lambda: known, "S")
    route.failed(("192.0.2.1", 1))
    assert [host for host, _ in route.addresses()] == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]


def test_others_are_other_servers_that_have_not_failed():
    both = [Location("192.0.2.1", 1), Location("192.0.2.1", 2)]
    known = [instance(1, locations=both), instance(2)]
    route = MatchmakerRoute(lambda: known, "S")
    assert route.has_others(("192.0.2.7", 1))
    known = known[:1]
    route = MatchmakerRoute(lambda: known, "S")
    assert not route.has_others(("192.0.2.1", 1))
    assert route.has_others(("192.0.2.2", 1))
    route.failed(("192.0.2.1", 1))
    route.failed(("192.0.2.1", 2))
    assert not route.has_others(("192.0.2.2", 1))


def test_a_server_that_has_just_come_is_found_by_who_knew_of_none(monkeypatch):
    """What is known of others holds for a while, but not that there are none."""
    monkeypatch.setattr(finding, "FRESH_SECONDS", 1e9)
    first, second = (instance(n, locations=[Location(f"192.0.2.{n}", 1)]) for n in (1, 2))
    known, asked = [first], []

    def ask():
        asked.append(len(known))
        return known

    route = MatchmakerRoute(ask, "S")
    assert not route.has_others(("192.0.2.1", 1))
    known = [first, second]
    wait_until(lambda: route.has_others(("192.0.2.1", 1)), "the new server is known")
    times = len(asked)
    known = [first]
    assert route.has_others(("192.0.2.1", 1))
    assert len(asked) == times


def _answer(answers):
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer


# ---- Processes that die ----


def test_the_lease_of_a_killed_server_ends(programs):
    _, port = run_matchmaker(programs)
    teller = run_teller(programs, "a", port)
    wait_listed(("127.0.0.1", port), 1)
    teller.interrupt(signal.SIGKILL)
    assert teller.wait() == 128 + signal.SIGKILL
    wait_listed(("127.0.0.1", port), 0)


def test_the_matchmaker_is_killed_and_comes_back(programs, find):
    matchmaker, port = run_matchmaker(programs)
    for name in "ab":
        run_teller(programs, name, port)
    stub = find(("127.0.0.1", port))
    for _ in range(2):
        matchmaker.interrupt(signal.SIGKILL)
        matchmaker.wait()
        assert stub.who() in "ab"
        matchmaker, _ = run_matchmaker(programs, port)
        wait_listed(("127.0.0.1", port), 2)
    assert sorted(find(("127.0.0.1", port)).who() for _ in range(2)) == ["a", "b"]


def test_clients_go_on_when_a_server_is_killed(programs, find):
    _, port = run_matchmaker(programs)
    first, _ = (run_teller(programs, name, port) for name in "ab")
    stubs = [find(("127.0.0.1", port)) for _ in range(4)]
    assert sorted(stub.who_again() for stub in stubs) == ["a", "a", "b", "b"]
    first.interrupt(signal.SIGKILL)
    first.wait()
    assert [stub.who_again() for stub in stubs] == ["b"] * 4
    assert [stub.who() for stub in stubs] == ["b"] * 4


def test_busy_clients_see_nothing_of_a_server_that_drains_and_ends(programs, find):
    """No call of a method that must not run twice fails, while servers are exchanged."""
    _, port = run_matchmaker(programs)
    names = iter("abcdef")
    tellers = [run_teller(programs, next(names), port) for _ in range(2)]
    stop, errors, counts = threading.Event(), [], []

    def work():
        stub, count = find(("127.0.0.1", port)), 0
        try:
            while not stop.is_set():
                stub.who()
                count += 1
        except Exception as error:
            errors.append(error)
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for name in names:
            leaving = tellers.pop(0)
            leaving.interrupt(signal.SIGTERM)
            assert leaving.wait() == 0
            tellers.append(run_teller(programs, name, port))
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT)
    assert errors == []
    assert min(counts) > 0
