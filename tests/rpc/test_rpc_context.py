"""fastsock.rpc: metadata, the current call, interceptors, and what errors tell the caller."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from conftest import WAIT, wait_until
from rpc_ends import wait_running
from rpc_shop import Locked, Overdrawn

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)


# ---- Context ----


def test_metadata_of_connection_and_call(start, stub):
    shop = stub(start(), metadata={"user": "ann", "trace": "0"})
    assert shop.told() == {"user": "ann", "trace": "0"}
    with rpc.metadata(trace="1", tenant="x"):
        assert shop.told() == {"user": "ann", "trace": "1", "tenant": "x"}
        with rpc.metadata(tenant="y"):
            assert shop.told.begin().result(WAIT)["tenant"] == "y"
        assert len(shop.echo(bytes(100_000))) == 100_000
    assert shop.told() == {"user": "ann", "trace": "0"}


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        ({"a": 1}, TypeError, "str to str, not 'a': 1"),
        ({"a": "x" * 10_000}, ValueError, "10033 bytes; at most 8192"),
    ],
)
def test_metadata_that_cannot_be_sent(start, stub, wrong, error, says):
    server = start()
    with pytest.raises(error, match=says):
        stub(server, metadata=wrong)
    with pytest.raises(error, match=says), rpc.metadata(**wrong):
        pass


def test_the_current_call(start, stub):
    server = start()
    shop = stub(server, timeout=30)
    before = time.monotonic()
    server.service.gate.set()
    shop.wait("me")
    context = server.service.contexts[0]
    assert (context.method, context.metadata) == ("wait", {})
    assert context.peer[0] == "127.0.0.1"
    assert before + 29 < context.deadline < time.monotonic() + 31
    assert 0 < context.remaining < 31
    assert not context.cancelled
    with pytest.raises(LookupError, match="rpc.current"):
        rpc.current()


def test_interceptors_of_the_server_surround_each_method(start, stub):
    seen: list[tuple[str, object]] = []

    def outer(context, proceed):
        seen.append(("before", context.method))
        result = proceed()
        seen.append(("after", context.method))
        return result

    def inner(context, proceed):
        if context.metadata.get("user") == "mallory":
            raise PermissionError("not you")
        return proceed()

    server = start(interceptors=[outer, inner])
    shop = stub(server)
    assert (shop.add(1, 2), shop.pooled(3), shop.sleep(0.0, "x")) == (3, 3, "x")
    assert list(shop.tick(2)) == [0, 1]
    assert [what for what in seen if what[0] == "before"] == [
        ("before", name) for name in ("add", "pooled", "sleep", "tick")
    ]
    assert seen.count(("after", "pooled")) == 1
    mallory = stub(server, metadata={"user": "mallory"})
    with pytest.raises(rpc.RemoteError, match="PermissionError: not you"):
        mallory.add(1, 2)


def test_interceptors_of_the_client_see_each_call(start, stub):
    begun: list[str] = []
    ended: list[str] = []

    def watch(call):
        name = call.signature.name
        if name == "take":
            raise PermissionError("not from here")
        begun.append(name)
        call.add_done_callback(lambda call: ended.append(name))

    shop = stub(start(), interceptors=[watch])
    assert shop.add(1, 2) == 3
    assert shop.pooled.begin(5).result(WAIT) == 5
    assert asyncio.run(shop.pooled.aio(5)) == 5
    assert list(shop.tick(3)) == [0, 1, 2]
    with pytest.raises(PermissionError, match="not from here"):
        shop.take(1)
    assert begun == ["add", "pooled", "pooled", "tick"]
    wait_until(lambda: ended == begun, "all callbacks have run")


def test_interceptors_hear_of_calls_that_could_not_begin(start, stub):
    begun: list[rpc.Call] = []
    ended: list[rpc.Call] = []

    def watch(call):
        begun.append(call)
        call.add_done_callback(ended.append)

    server = start()
    shop = stub(server, interceptors=[watch], retry=0.1)
    assert shop.add(1, 2) == 3
    server.close()
    for form in shop.add, shop.add.begin, shop.log:
        with pytest.raises((rpc.Unavailable, rpc.ConnectionLost)):
            made = form("line") if form is shop.log else form(1, 2)
            if isinstance(made, rpc.Call):
                made.result(WAIT)
            elif form is shop.log:
                shop.log("the first one may have reached the kernel")
    wait_until(lambda: set(ended) == set(begun), "each has ended")


# ---- Errors ----


def test_an_exception_reaches_the_caller(start, stub):
    shop = stub(start())
    with pytest.raises(rpc.RemoteError) as caught:
        shop.take(1)
    error = caught.value
    assert (error.type, error.message) == ("KeyError", "'no account for 1'")
    assert error.remote_traceback == ""
    assert shop.add(1, 2) == 3


def test_tracebacks_are_shown_if_the_server_opts_in(start, stub):
    with pytest.raises(rpc.RemoteError) as caught:
        stub(start(tracebacks=True)).take(1)
    assert 'raise KeyError(f"no account for {amount}")' in caught.value.remote_traceback


def test_declared_exceptions_arrive_as_themselves(start, stub):
    shop = stub(start())
    with pytest.raises(Overdrawn) as caught:
        shop.take(101)
    assert caught.value.args == (101, "too much")
    with pytest.raises(Overdrawn) as caught:
        shop.take(13)
    assert type(caught.value) is Overdrawn, "only the declared class is known to both sides"
    assert caught.value.args == Locked(13).args
    with pytest.raises(Overdrawn):
        asyncio.run(shop.take.aio(101))
    assert isinstance(shop.take.begin(101).exception(WAIT), Overdrawn)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(rpc.Service):
    """Raises what is hard to send."""

    ERRORS = {
        "surrogate": lambda: ValueError("\udcff"),
        "unprintable": Unprintable,
        "huge argument": lambda: Overdrawn(2**70),
        "object argument": lambda: Overdrawn(object()),
        "long": lambda: ValueError("x" * 1_000_000),
        "exit": lambda: SystemExit(3),
        "cancelled": asyncio.CancelledError,
        "interrupt": KeyboardInterrupt,
        "generator exit": GeneratorExit,
        "stop": lambda: StopIteration(1),
        "group": lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]),
        "nested refusal": lambda: rpc.Unavailable("of another server"),
    }

    @rpc.method(inline=True, raises=[Overdrawn])
    def inline(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    def pooled(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    async def task(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    def stream(self, name: str) -> Iterator[int]:
        yield 1
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    async def ticks(self, name: str) -> AsyncIterator[int]:
        yield 1
        raise self.ERRORS[name]()

    @rpc.method(inline=True)
    def fine(self) -> int:
        return 1


@pytest.mark.parametrize("form", ["inline", "pooled", "task", "stream", "ticks"])
@pytest.mark.parametrize("name", Odd.ERRORS)
def test_every_exception_is_an_answer(start, stub, name, form):
    """Nothing that a method raises leaves its caller without an answer, or costs a thread."""
    server = start(Odd(), threads_max=1)
    odd = stub(server, Odd, timeout=WAIT)
    for _ in range(2):
        with pytest.raises((rpc.RemoteError, rpc.Cancelled, Overdrawn)):
            if form in ("stream", "ticks"):
                list(getattr(odd, form)(name))
            else:
                getattr(odd, form)(name)
    assert odd.fine() == 1
    wait_running(server, 0)


def test_wrong_arguments_name_the_method_and_the_place(start, stub):
    server = start()
    shop = stub(server)
    with pytest.raises(rpc.WrongArguments, match=r"add\(a: float.*Expected `float`, got `str`"):
        shop.add("one", 2)
    with pytest.raises(rpc.WrongArguments, match="pooled.*got `str`"):
        shop.pooled("one")
    assert server.service.begun == []
    assert shop.add(1, 2) == 3


def test_a_wrong_result_is_the_server_s_fault(start, stub):
    class Liar(rpc.Service):
        @rpc.method
        def number(self) -> int:
            return "seven"

        @rpc.method
        def thing(self) -> int:
            return object()

        @rpc.method
        def numbers(self) -> Iterator[int]:
            yield from (1, "two")

    liar = stub(start(Liar()), Liar)
    with pytest.raises(rpc.WrongResult, match="number.*Expected `int`, got `str`"):
        liar.number()
    with pytest.raises(rpc.WrongResult, match="thing.*object cannot be sent"):
        liar.thing()
    stream = iter(liar.numbers())
    assert next(stream) == 1
    with pytest.raises(rpc.WrongResult, match="numbers.*Expected `int`, got `str`"):
        next(stream)


def test_errors_can_be_told_apart():
    for error in (rpc.UnknownMethod, rpc.WrongArguments, rpc.BodyTooLarge, rpc.VersionMismatch):
        assert issubclass(error, rpc.RpcError) and not issubclass(error, ConnectionError)
    assert issubclass(rpc.DeadlineExceeded, TimeoutError)
    assert issubclass(rpc.OutcomeUnknown, rpc.ConnectionLost)
    assert issubclass(rpc.Unavailable, ConnectionError)
