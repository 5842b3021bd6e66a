"""fastsock.rpc: exceptions arrive as they were raised, or as RemoteError with the reason."""

import enum
import pathlib
import uuid
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
import rpc_raw as raw
from conftest import WAIT
from rpc_raw import LyingServer, Peer, RawClient, colliding_pairs, frame, pack, server_hello

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)


class Colour(enum.Enum):
    RED = "red"


class Amount(Exception):
    pass


class Formatted(Exception):
    def __init__(self, code, text="?"):
        super().__init__(f"error {code}: {text}")
        self.code = code
        self.text = text


class Named(Exception):
    def __init__(self, *, limit):
        super().__init__(f"limit {limit}")
        self.limit = limit


class Reduced(Exception):
    made = 0

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        Reduced.made += 1

    def __reduce__(self):
        return Reduced, (7, "boom")


class Slotted(Exception):
    __slots__ = ("code",)


class File(OSError):
    def __init__(self, number, path):
        super().__init__(number, "no luck", path)
        self.path = path


class Other:
    class Amount(Exception):
        """One that is not declared, of the same name."""


class Raiser(rpc.Service):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @rpc.method(raises=[Amount, Formatted, Named, Reduced, Slotted, OSError, LookupError])
    def declared(self) -> None:
        raise self.error

    @rpc.method(raises=[ExceptionGroup, UnicodeError, StopIteration])
    def grouped(self) -> None:
        raise self.error

    @rpc.method(inline=True)
    def undeclared(self) -> None:
        raise self.error


@pytest.fixture
def raised(start, stub):
    def raised(error: BaseException, method: str = "declared") -> BaseException:
        with pytest.raises(Exception) as caught:
            getattr(stub(start(Raiser(error)), Raiser), method)()
        return caught.value

    return raised


VALUES = [
    Decimal("12.50"),
    datetime(2020, 1, 1, fold=1),
    datetime(2020, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(2020, 7, 1, 0, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    time(9, 30, tzinfo=timezone(timedelta(hours=-3))),
    date(2020, 2, 29),
    timedelta(days=-1, microseconds=1),
    uuid.UUID(int=5),
    Colour.RED,
    (1, (2, [3])),
    {1, (2, 3)},
    frozenset({b"x"}),
    {1: "a", (2, 3): {None: Colour.RED}},
    b"x",
    bytearray(b"y"),
    2**70,
    -(2**63) - 1,
    1 + 2j,
    "\udc80",
    pathlib.Path("/no/such"),
    "x" * 200_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_arguments_keep_their_types(raised, value):
    error = raised(Amount(value, "second"))
    assert type(error) is Amount
    assert error.args == (value, "second")
    assert repr(error) == repr(Amount(value, "second"))


@pytest.mark.parametrize(
    "error",
    [Formatted(7, "boom"), Formatted(7), Named(limit=5), Reduced(1, "x"), File(2, "/no/such")],
    ids=lambda error: type(error).__name__,
)
def test_constructors_of_other_parameters_give_an_equal_exception(raised, error):
    arrived = raised(error)
    if isinstance(error, File):  # Not declared: its base is.
        assert isinstance(arrived, FileNotFoundError)
        assert (arrived.errno, arrived.filename) == (2, "/no/such")
        assert arrived.__notes__ == ["at the server it was a File"]
        return
    assert type(arrived) is type(error)
    assert str(arrived) == ("7: boom" if isinstance(error, Reduced) else str(error))
    assert vars(arrived) == vars(error)


def test_attributes_arrive(raised):
    error = Amount(1)
    error.limit = {Decimal(5): (1, 2)}
    assert vars(raised(error)) == {"limit": {Decimal(5): (1, 2)}}


def test_subclasses_of_python_itself_arrive_as_themselves(raised):
    error = raised(KeyError(("a", 1)))
    assert (type(error), error.args) == (KeyError, (("a", 1),))
    error = raised(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "grouped")
    assert isinstance(error, UnicodeDecodeError)
    assert (error.object, error.end, error.reason) == (b"\xff", 1, "invalid")
    assert raised(StopIteration(5), "grouped").value == 5


@pytest.mark.parametrize(
    "error, says",
    [
        (Amount(object()), "a object cannot be sent in an exception"),
        (Slotted(1), "Slotted has __slots__ and no __reduce__"),
        (Amount(list(range(20_000))), "more than 10000 values"),
    ],
    ids=["object", "slots", "large"],
)
def test_what_cannot_arrive_is_a_remote_error_with_the_reason(raised, error, says):
    arrived = raised(error)
    assert isinstance(arrived, rpc.RemoteError)
    assert arrived.type == type(error).__name__
    assert says in arrived.__notes__[0]


def test_an_undeclared_class_of_a_declared_name_is_not_taken_for_it(raised):
    error = raised(Other.Amount(5))
    assert isinstance(error, rpc.RemoteError)
    assert (error.type, error.message) == ("Other.Amount", "5")


@pytest.mark.parametrize("method", ["declared", "undeclared"])
def test_notes_and_causes_arrive(raised, method):
    error, cause = Amount("a"), ValueError("root")
    error.add_note("row 17")
    cause.__cause__ = KeyError("first")
    error.__cause__ = cause
    arrived = raised(error, method)
    assert isinstance(arrived, Amount if method == "declared" else rpc.RemoteError)
    assert arrived.__notes__ == ["row 17"]
    assert str(arrived.__cause__) == "ValueError: root"
    assert str(arrived.__cause__.__cause__) == "KeyError: 'first'"


def test_members_of_a_group_arrive(raised):
    members = [ValueError("a"), ExceptionGroup("inner", [KeyError(1)]), Amount(2)]
    group = ExceptionGroup("several", members)
    arrived = raised(group, "grouped")
    assert isinstance(arrived, ExceptionGroup)
    first, inner, unknown = arrived.exceptions
    assert (type(first), first.args) == (ValueError, ("a",))
    assert repr(inner.exceptions[0]) == "KeyError(1)"
    assert (type(unknown), str(unknown)) == (rpc.RemoteError, "Amount: 2")
    notes = raised(group, "undeclared").__notes__
    assert notes[0] == "one of them: ValueError: a"


def nested(depth: int) -> object:
    made: object = 1
    for _ in range(depth):
        made = ["list", made]
    return made


HOSTILE = {
    "exit": (["builtins", "SystemExit", "", [1], [], [], []], "not declared"),
    "other": (["builtins", "ValueError", "", [1], [], [], []], "not declared"),
    "class": (["builtins", "print", "", [1], [], [], []], "not declared"),
    "value": (["x", "Amount", "", [["system", "ls"]], [], [], []], "system"),
    "nest": (["x", "Amount", "", [nested(100)], [], [], []], "too deep"),
    "map": (["x", "Amount", "", [{"a": 1}], [], [], []], "dict is no value"),
    "attribute": (["x", "Amount", "", [], ["__class__", 1], [], []], "no attribute"),
    "enum": (["x", "Amount", "", [["Enum", "os", "system", "x"]], [], [], []], "no system.x"),
    "set": (
        ["x", "Amount", "", [["set", *(["tuple", *p] for p in colliding_pairs(3000))]], [], [], []],
        "3000 keys that collide",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_server_cannot_choose_what_is_made(start, name):
    packed, says = HOSTILE[name]
    with RawClient(start(Raiser(Amount())).address) as client:
        infos = client.methods

    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello(infos, service="Raiser"))
        while (heard := peer.hear()) is not None:
            if heard.kind == raw.CALL:
                body = pack([0, "Amount", "text", "", packed])
                peer.say(frame(raw.ERROR, heard.call, body))

    with (
        LyingServer(script) as liar,
        rpc.connect(Raiser, liar.address, timeout=WAIT) as stub,
        pytest.raises(rpc.RemoteError) as caught,
    ):
        stub.declared()
    assert says in caught.value.__notes__[0]
