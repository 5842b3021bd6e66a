"""Several addresses tried at once."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest
from conftest import WAIT, wait_until

import fastsock.rpc.matchmaker.finding as finding
from fastsock import net, rpc
from fastsock.rpc.client.attempts import AT_ONCE_MAX, Attempts
from fastsock.rpc.matchmaker.finding import MatchmakerRoute
from fastsock.rpc.matchmaker.registry import Instance, Location


class Here(rpc.Service):
    @rpc.method
    def who(self) -> str:
        return "here"


@pytest.fixture(autouse=True)
def nothing_has_failed(monkeypatch):
    monkeypatch.setattr(finding, "failures", finding._Failures())


@pytest.fixture
def mute():
    """Addresses that accept and say nothing."""
    with ExitStack() as stack:

        def make(count):
            opened = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(count)]
            for each in opened:
                stack.enter_context(each)
            return [each.getsockname() for each in opened]

        yield make


def route_of(addresses):
    known = [Instance("Here", "1", f"{n:032x}", [Location(*a)]) for n, a in enumerate(addresses)]
    return MatchmakerRoute(lambda: known, "Here version 1")


def connect(addresses, monkeypatch, **options):
    """A stub whose matchmaker names these addresses."""
    monkeypatch.setattr("fastsock.rpc.stub._route", lambda *_: route_of(addresses))
    return rpc.connect(Here, ("127.0.0.1", 1), **options)


@pytest.mark.parametrize("silent", [1, AT_ONCE_MAX - 1])
def test_addresses_that_say_nothing_cost_a_delay_and_not_a_time_out(mute, monkeypatch, silent):
    with rpc.serve(Here(), linger=0.2) as server:
        addresses = [*mute(silent), server.address]
        began = time.monotonic()
        with connect(addresses, monkeypatch, connect_timeout=2 * WAIT) as stub:
            assert stub.who() == "here"
            assert time.monotonic() - began < 2 * WAIT
        assert route_of(addresses).addresses()[0] == server.address, "the others come last now"


def test_those_that_refuse_are_passed_over_at_once_and_remembered(monkeypatch):
    closed = [("127.0.0.1", net.free_port()) for _ in range(20)]
    with rpc.serve(Here(), linger=0.2) as server:
        with connect([*closed, server.address], monkeypatch, connect_timeout=WAIT) as stub:
            assert stub.who() == "here"
        assert route_of([*closed, server.address]).addresses()[0] == server.address


def test_an_address_that_no_resolver_takes_is_passed_over(monkeypatch):
    with rpc.serve(Here(), linger=0.2) as server:
        addresses = [("a..b", 80), ("x" * 64, 80), server.address]
        with connect(addresses, monkeypatch, connect_timeout=WAIT) as stub:
            assert stub.who() == "here"


def test_one_that_works_again_is_no_longer_passed_over(monkeypatch):
    with rpc.serve(Here(), linger=0.2) as server:
        finding.failures.add(server.address)
        connect([server.address], monkeypatch).close()
        assert server.address not in finding.failures


def test_the_second_to_answer_is_let_go():
    gate, ended, failed = threading.Event(), [], []

    def connect(address):
        if address[1] == 1:
            gate.wait(WAIT)
        return address

    attempts = Attempts(connect, ended.append, failed.append, (OSError,))
    assert attempts.first([("h", 1), ("h", 2)]) == ("h", 2)
    assert failed == [("h", 1)]
    gate.set()
    wait_until(lambda: ended == [("h", 1)], "it is ended")


def test_the_last_error_is_told_if_there_is_no_server():
    failed = []

    def connect(address):
        raise OSError(address[1], "no")

    attempts = Attempts(connect, print, failed.append, (OSError,))
    error = attempts.first([("h", n) for n in range(20)])
    assert isinstance(error, OSError) and len(failed) == 20
    assert Attempts(connect, print, failed.append, (OSError,)).first([]) is None


def test_a_mistake_is_raised_and_not_passed_over():
    def connect(address):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Attempts(connect, print, print, (OSError,)).first([("h", 1), ("h", 2)])


def test_without_threads_it_goes_on_one_by_one(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []

    def connect(address):
        seen.append(address)
        if address[1] < 3:
            raise OSError("no")
        return address

    attempts = Attempts(connect, print, seen.append, (OSError,))
    assert attempts.first([("h", n) for n in range(5)]) == ("h", 3)
