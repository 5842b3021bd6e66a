"""A call of an inline method, from its frame to its answer, in one step.

The engine's thread does this mostly after a sleep, when the caches are cold: what counts is how
little code and memory a call touches. So the steps, and the fields that they need, are C's, and set
by ``__cinit__``, which ``__new__`` runs: no object exists without them.
"""

from collections import deque
from time import monotonic
from types import MappingProxyType

cimport cython
from libc.stdint cimport int64_t, uint64_t

from fastsock.server._connection cimport Connection
from fastsock.core._lock cimport Lock
from fastsock.errors import LogFull
from fastsock.rpc import wire
from fastsock.rpc._context cimport ContextCore

from fastsock.rpc.wire._frames cimport *

cdef extern from "Python.h":
    object PyContextVar_Set(object variable, object value)
    int PyContextVar_Reset(object variable, object token) except -1

cdef enum:
    # Answers that are kept for one session: so many, and together so long.
    KEPT_MAX = 1024
    KEPT_BYTES_MAX = 1 << 20
    # About what each takes beside its body.
    KEPT_BYTES_EACH = 256
    # What a server's budget gives for them at a time, so that not every call asks it.
    KEPT_STEP = 1 << 12
    # Of the calls that InlineCalls runs, the time of one in so many is taken.
    SAMPLE = 64
    # Of times: up to 2 ** 39 microseconds, which is six days.
    BUCKETS = 40

# What rpc.deadline() takes, too; with more, calls that the method makes could not say how much.
cdef double REMAINING_SECONDS_MAX = 1e9

cdef int CALL = wire.CALL
cdef int REPLY = wire.REPLY
cdef Py_ssize_t CHUNK_BYTES = wire.CHUNK_BYTES
cdef bytes NIL = wire.NIL


def answer_frame(int kind, int flags, uint64_t call, bytes body not None):
    """A frame to the client with a whole body."""
    return whole_frame(kind, flags, 0, call, 0, body)


cpdef deadline_of(uint64_t remaining_us):
    """Until when a call that arrives now has time, by ``monotonic()``; None for 0."""
    if remaining_us == 0:
        return None
    return monotonic() + min(remaining_us / 1e6, REMAINING_SECONDS_MAX)


@cython.final
cdef class Tally:
    """The calls of one method, and how long they took, in powers of two of microseconds."""

    cdef readonly uint64_t calls, errors
    cdef readonly int64_t running
    cdef uint64_t times[BUCKETS]

    def began(self):
        """A call has begun, or waits for a thread."""
        self.running += 1

    def ended(self, bint failed, begun):
        """A call that ``began`` has ended; its time is taken if ``begun`` is not None."""
        self.running -= 1
        self.calls += 1
        self.errors += failed
        if begun is not None:
            self.took(begun)

    cdef int took(self, double begun) except -1:
        cdef uint64_t left = <uint64_t>(max(monotonic() - begun, 0.0) * 1e6)
        cdef int bucket = 0
        while left and bucket < BUCKETS - 1:
            left >>= 1
            bucket += 1
        self.times[bucket] += 1
        return 0

    def quantile(self, double part):
        """In so many seconds that part of the calls has ended, rounded up to a power of two of
        microseconds; 0.0 if no time is known."""
        cdef uint64_t known = 0, seen = 0
        cdef int bucket
        for bucket in range(BUCKETS):
            known += self.times[bucket]
        for bucket in range(BUCKETS):
            seen += self.times[bucket]
            if seen and seen >= part * known:
                return (<uint64_t>1 << bucket) / 1e6
        return 0.0


cdef class OutgoingCore:
    """What :class:`fastsock.rpc.server.outgoing.Outgoing` is made of."""

    cdef readonly Connection conn
    cdef readonly Lock lock
    cdef readonly object waiting
    cdef public int64_t window
    cdef public bint gone

    def __cinit__(self, Connection conn not None, *_):
        if conn.engine is None:
            raise TypeError("this connection was made by __new__: connections are made by their"
                            " server")
        self.conn = conn
        self.lock = Lock()
        self.waiting = deque()
        self.window = wire.WINDOW_BYTES

    cpdef put(self, bytes frame):
        """One frame, at once if nothing waits."""
        self.lock.take()
        try:
            if self.window > 0 and not self.waiting:
                self.window -= len(frame)
                OutgoingCore.send(self, frame)
            else:
                self.wait(frame)
        finally:
            self.lock.give()

    cpdef send(self, bytes frame):
        """One frame; nobody waits for a client that does not read. The lock is held."""
        try:
            if self.conn.engine.send_to(self.conn, frame, 0):
                return
        except LogFull:
            pass
        self.give_up()


cdef class SessionCore:
    """What :class:`fastsock.rpc.server.session.Session` is made of. ``incomplete`` are calls whose bodies
    have not come in whole: they may come again."""

    cdef readonly object metadata
    cdef readonly Lock lock
    cdef readonly dict running, kept
    cdef readonly set incomplete
    cdef public OutgoingCore outgoing
    cdef public object peer
    cdef public uint64_t highest
    cdef object budget
    cdef Py_ssize_t kept_bytes, kept_paid
    cdef bint gone

    def __cinit__(self, token, dict metadata not None, budget, *_):
        self.metadata = MappingProxyType(metadata)
        self.budget = budget
        self.lock = Lock()
        self.running = {}
        self.kept = {}
        self.incomplete = set()
        self.peer = ""

    cpdef bint seen(self, uint64_t number) except -1:
        """Whether a call of that number has begun here before. Remembers it, in one step: the old
        connection of a client that has come back may have another thread."""
        if number > self.highest:
            self.highest = number
            return False
        if number in self.incomplete:
            self.incomplete.discard(number)
            return False
        return True

    cpdef keep(self, uint64_t call, int kind, int flags, body, Py_ssize_t size):
        """Keeps an answer of so many bytes until the client has it. Where there is no room for all,
        the oldest go. The lock is held."""
        if self.gone:
            return
        self.kept[call] = kind, flags, body, size
        self.kept_bytes += size + KEPT_BYTES_EACH
        while len(self.kept) > KEPT_MAX or self.kept_bytes > KEPT_BYTES_MAX:
            self.drop_oldest()
        while self.kept_bytes > self.kept_paid and not self.pay():
            self.drop_oldest()

    cdef int drop_oldest(self) except -1:
        self.kept_bytes -= self.kept.pop(next(iter(self.kept)))[3] + KEPT_BYTES_EACH
        return 0

    cdef bint pay(self) except -1:
        """Takes what the kept answers need from the budget; False if there is not so much."""
        cdef Py_ssize_t more = self.kept_bytes - self.kept_paid + KEPT_STEP - 1
        more -= more % KEPT_STEP
        if not self.budget.take(self, more, locked=True):
            return False
        self.kept_paid += more
        return True

    def forget(self, numbers):
        """The client has the answers of these calls."""
        self.lock.take()
        try:
            for number in numbers:
                kept = self.kept.pop(number, None)
                if kept is not None:
                    self.kept_bytes -= kept[3] + KEPT_BYTES_EACH
            self.repay(4 * KEPT_STEP)
        finally:
            self.lock.give()

    def drop_answers(self, Py_ssize_t size):
        """Drops the oldest kept answers until so many bytes less are held, if another thread does
        not hold the lock. Returns how many."""
        cdef Py_ssize_t before = self.kept_paid
        if not self.lock.try_take():
            return 0
        try:
            while self.kept and self.kept_paid - self.kept_bytes < size:
                self.drop_oldest()
            self.repay(0)
            return before - self.kept_paid
        finally:
            self.lock.give()

    def forget_all(self):
        """The client will not come back: nothing is kept for it from now on."""
        self.lock.take()
        try:
            self.gone = True
            self.kept.clear()
            self.kept_bytes = 0
            self.repay(0)
        finally:
            self.lock.give()

    cdef int repay(self, Py_ssize_t spare) except -1:
        """Gives back what the kept answers do not need, if that is more than is to spare."""
        cdef Py_ssize_t less = self.kept_paid - self.kept_bytes
        if less > spare:
            self.kept_paid -= less
            self.budget.give(self, less)
        return 0


@cython.final
cdef class InlineMethod:
    """A method whose calls InlineCalls may run; its arguments are the skeleton's."""

    cdef object signature, function, name, decode, encode
    cdef Tally tally
    cdef bint keeps

    def __cinit__(self, signature, function, Tally tally not None):
        self.signature = signature
        self.function = function
        self.tally = tally
        self.name = signature.name
        self.decode = signature.arguments_codec.decode_plain
        self.encode = signature.result_codec.encode_plain
        self.keeps = not signature.options.idempotent


@cython.final
cdef class InlineCalls:
    """Takes the frames that arrive: runs plain calls of these methods, and leaves the rest to
    ``receive(conn, frame)``.

    A call is plain if its arguments came in one frame, without segments and metadata, and nothing
    speaks against it. What comes of it, too, may not be plain: then ``end(call, result, body,
    error)`` does the rest.
    """

    cdef dict methods
    cdef object receive, end, make_call, make_context, current
    cdef Py_ssize_t calls_max

    def __cinit__(self, dict methods not None, Py_ssize_t calls_max, *, receive, end, make_call,
                  make_context, current):
        self.methods = methods
        self.calls_max = calls_max
        self.receive = receive
        self.end = end
        self.make_call = make_call
        self.make_context = make_context
        self.current = current

    def close(self):
        """From now on ``receive`` takes all."""
        self.methods = {}

    def __call__(self, Connection conn not None, bytes frame not None):
        """The engine's handler of messages."""
        cdef const uint8_t *head = head_of(frame)
        cdef InlineMethod method
        cdef Py_ssize_t body_len = len(frame) - HEADER_BYTES
        if 0 <= body_len <= CHUNK_BYTES and head[0] == CALL and head[1] == 0:
            method = self.methods.get(head[2] << 8 | head[3])
            if method is not None and isinstance(conn.context, SessionCore) and self.begin(
                conn.context, method, frame, number_at(head + 8), number_at(head + 16)
            ):
                return
        self.receive(conn, frame)

    cdef bint begin(self, SessionCore session, InlineMethod method, bytes frame, uint64_t number,
                    uint64_t remaining_us) except -1:
        """Runs a call. False, with nothing done, if it is not plain."""
        deadline = deadline_of(remaining_us) if remaining_us else None
        try:
            arguments = method.decode(body_of(frame))
        except Exception:
            return False  # The code that receives it says what is wrong.
        if deadline is not None and monotonic() >= deadline:
            return False
        # From here to the next call of Python no other thread runs: after close() no call begins
        # whose number the server has not seen, and none begins twice.
        if number <= session.highest or not self.methods:
            return False
        if len(session.running) >= self.calls_max:
            return False
        session.highest = number
        context = self.make_context(session.peer, method.name, session.metadata, deadline)
        token = PyContextVar_Set(self.current, context)
        try:
            self.run(session, method, number, context, arguments)
        finally:
            PyContextVar_Reset(self.current, token)
        return True

    cdef int run(self, SessionCore session, InlineMethod method, uint64_t number, context,
                 arguments) except -1:
        cdef OutgoingCore outgoing
        cdef double begun = 0.0
        body = NIL
        error = result = None
        if method.tally.calls % SAMPLE == 0:
            begun = monotonic()
        try:
            result = method.function(*arguments)
            if result is not None:
                body = self.encoded(method, result)
        except BaseException as failed:
            error = failed
        if (error is not None or body is None or len(body) > CHUNK_BYTES
                or (<ContextCore>context)._ends is not None):
            call = self.make_call(
                session, number, method.signature, method.function, method.tally, context, 0, None
            )
            call.begun = begun if begun != 0.0 else None
            self.end(call, result, body, error)
            return 0
        session.lock.take()
        try:
            outgoing = session.outgoing
            if method.keeps:
                SessionCore.keep(session, number, REPLY, 0, body, len(body))
        finally:
            session.lock.give()
        if outgoing is not None:
            OutgoingCore.put(outgoing, whole_frame(REPLY, 0, 0, number, 0, body))
        method.tally.calls += 1
        if begun != 0.0:
            method.tally.took(begun)
        return 0

    cdef object encoded(self, InlineMethod method, result):
        """The body of a result; None if it needs segments, or cannot be sent."""
        if type(result) is bytes and len(result) > CHUNK_BYTES:
            return None
        try:
            return method.encode(result)
        except Exception:
            return None
