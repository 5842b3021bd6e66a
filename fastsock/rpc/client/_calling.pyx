"""A synchronous call that has its link to itself, from its arguments to its result, in one step.

Its caller sleeps in the middle, and then the caches are cold: what counts is how little code and
memory a call touches. So the steps, and the fields that they need, are C's, and a step that Python
may call, too, is called by its class, so that nothing is looked up.

What the steps need is set by ``__cinit__``, which ``__new__`` runs: no object exists without it.
"""

import logging
from collections import deque
from inspect import isawaitable
from time import monotonic

from fastsock.errors import ConnectionClosed, FastsockError
from fastsock.rpc import wire
from fastsock.rpc.context import _current, _deadline, _metadata
from fastsock.rpc.errors import DeadlineExceeded

from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_DECREF, PyObject

from fastsock.client._endpoint cimport ClientCore
from fastsock.core._lock cimport Lock
from fastsock.posix._syscall cimport timeout_ns
from fastsock.rpc.wire._frames cimport *

cdef extern from "Python.h":
    int PyContextVar_Get(object variable, PyObject *default, PyObject **value) except -1

cdef enum:
    # Frames that are read at once.
    FRAMES_MAX = 256

    # So many answers are acknowledged together.
    ANSWERS_MAX = 64

log = logging.getLogger("fastsock.rpc")

SEND_SECONDS = 0.1
"""A caller whose call does not go out for so long leaves it to the attendant, and reads."""

awaited = set()
"""Calls with callbacks or coroutines that wait: nothing else may hold them."""

cdef int CALL = wire.CALL
cdef int REPLY = wire.REPLY
cdef int SEGMENTS = wire.SEGMENTS
cdef Py_ssize_t CHUNK_BYTES = wire.CHUNK_BYTES
cdef uint64_t CREDIT_BYTES = wire.WINDOW_BYTES // 4


cdef bint answers(bytes frame, uint64_t number) noexcept:
    """Whether the frame is the whole reply of the call of that number."""
    cdef const uint8_t *head = head_of(frame)
    return (len(frame) >= HEADER_BYTES and head[0] == REPLY and not head[1] & ~SEGMENTS
            and number_at(head + 8) == number)


cdef object value_of(variable):
    """The value of a ContextVar, None if it has none."""
    cdef PyObject *value = NULL
    PyContextVar_Get(variable, <PyObject *>None, &value)
    found = <object>value
    Py_DECREF(found)  # The call above has made a reference for us.
    return found


cpdef deadline_now():
    """Until when calls that are made here have time, or None: that of the running method, or of
    the nearest ``with deadline``, whichever is over first."""
    ours, running = value_of(_deadline), value_of(_current)
    theirs = None if running is None else running.deadline
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return min(ours, theirs)


def receive_from(ClientCore client not None, timeout):
    """The next frames of a client; none if nothing comes."""
    try:
        return client.recv_some(FRAMES_MAX, timeout_ns(timeout), timeout)
    except TimeoutError:
        client.late = False
        return []


def _set_results(futures):
    for future in futures:
        if not future.done():
            future.set_result(None)


cdef class Endings:
    """How the calls of a stub end: under one lock, which is held for moments.

    ``woken`` are the futures of event loops that are to be told, each with its loop.
    """

    cdef readonly Lock lock
    cdef public list woken

    def __cinit__(self):
        self.lock = Lock()
        self.woken = []

    def renew(self):
        """In a forked child: the lock may be held by a thread that only the parent has."""
        self.lock = Lock()
        self.woken = []

    def wake_later(self, waiter):
        """Tell the waiter's loop with the next ``wake_loops``."""
        self.woken.append(waiter)

    cpdef wake_loops(self):
        """Tell each event loop once of all that it waited for."""
        if not self.woken:
            return
        self.lock.take()
        try:
            woken, self.woken = self.woken, []
        finally:
            self.lock.give()
        futures = {}
        for loop, future in woken:
            futures.setdefault(loop, []).append(future)
        for loop, those in futures.items():
            try:
                loop.call_soon_threadsafe(_set_results, those)
            except RuntimeError:
                continue  # The loop is closed, so nobody waits there.

    def run_callback(self, callback, call):
        """Run a callback of the user's, whose exceptions are logged."""
        awaited.discard(call)
        try:
            callback(call)
        except BaseException:
            log.exception("a callback of %s failed", call.signature.name)

cdef class ConnectorCore


cdef class CallCore:
    """What :class:`fastsock.rpc.Call` is made of."""

    cdef readonly ConnectorCore connector
    cdef readonly object signature, deadline
    cdef public object body, link, sent_at, reply, outcome, event, callbacks, waiters, assembly
    cdef public bytes metadata
    cdef public uint64_t id
    cdef public int flags, moves
    cdef public bint moving, finished, attended

    def __cinit__(self, ConnectorCore connector not None, signature, tuple arguments not None,
                  deadline):
        self.connector = connector
        self.signature = signature
        self.deadline = deadline
        self.metadata = b""
        codec = signature.arguments_codec
        if not codec.marks_bytes:
            try:
                self.body = codec.encode_plain(arguments)
                return
            except Exception:
                pass  # It has segments, or encode() says what is wrong.
        self.flags, self.body = codec.encode(arguments)

    @property
    def resendable(self):
        """Whether the call may run twice."""
        return self.signature.options.idempotent

    cpdef bint is_late(self) except -1:
        """Whether its deadline is over: then even an answer that has come is too late."""
        return self.deadline is not None and monotonic() >= self.deadline

    cdef double seconds_left(self, double most) except -1:
        """Until its deadline, at least 0 and at most that many."""
        if self.deadline is None:
            return most
        return max(0.0, min(most, <double>self.deadline - <double>monotonic()))

    cdef int settle(self, bytes frame) except -1:
        """Ends the call with a whole reply."""
        cdef int flags = head_of(frame)[1]
        body = body_of(frame)
        outcome = None
        try:
            if flags == 0 and len(frame) <= HEADER_BYTES + CHUNK_BYTES:
                outcome = self.signature.result_codec.decode_plain(body), None
        except Exception:
            pass  # decoded() says what is wrong.
        CallCore.end(self, None, self.decoded(REPLY, flags, body) if outcome is None else outcome)
        return 0

    cpdef bint end(self, reply, outcome) except -1:
        """Ends the call with a frame's kind, flags and body, or with its value and error; False
        if it had ended."""
        cdef Endings endings = self.connector.endings
        cdef bint ended
        callbacks = None
        endings.lock.take()
        ended = self.finished
        if not ended:
            self.reply = reply
            self.outcome = outcome
            self.finished = True
            callbacks, self.callbacks = self.callbacks, None
        endings.lock.give()
        if ended:
            return False
        if self.event is not None or self.waiters is not None:
            self.wake()
        for callback in callbacks or ():
            endings.run_callback(callback, self)
        return True


cdef class SenderCore:
    """What :class:`fastsock.rpc.client.sender.Sender` is made of.

    ``outgoing`` are the frames that wait, each with the call that it begins, or None; ``transfers``
    the rests of long ones. ``lock`` is held while they are sent; ``dead``: the connection has
    ended. ``send_later()`` lets another thread send. The lock is taken and given back here: in
    Python a signal handler could raise in between.
    """

    cdef readonly ClientCore client
    cdef readonly Lock lock
    cdef readonly object outgoing, transfers
    cdef public object send_later
    cdef public bint dead

    def __cinit__(self, ClientCore client not None, *_):
        self.client = client
        self.lock = Lock()
        self.outgoing = deque()
        self.transfers = deque()

    def renew(self):
        """In a forked child: the lock may be held by a thread that only the parent has."""
        self.lock = Lock()
        self.transfers.clear()

    cpdef put(self, bytes frame):
        """Add a frame that begins no call."""
        self.outgoing.append((frame, None))

    cdef int send_first(self, CallCore call) except -1:
        """Send the call, and what waits before it."""
        if not self.lock.try_take():
            self.flush(call)
            return 0
        try:
            self.send_call(call)
        finally:
            self.lock.give()
        return 0

    cdef int send_call(self, CallCore call) except -1:
        """As ``send_first``; the attendant does the rest if that takes waiting."""
        cdef double soon = call.seconds_left(SEND_SECONDS)
        try:
            if len(self.outgoing) == 1 and self.outgoing[0][1] is call:
                call.sent_at = self.client.bytes_queued
                self.client.send_all((self.outgoing.popleft()[0],), 0, timeout_ns(soon), soon)
            elif self.outgoing and not self.send_batch(soon):
                self.send_later()
        except TimeoutError:
            if not self.was_late():
                raise
            self.send_later()
        return 0

    cpdef bint send_soon(self, double limit) except -1:
        """As ``send_batch``, but to the limit, and no longer than SEND_SECONDS."""
        cdef double soon = max(0.0, min(limit - <double>monotonic(), <double>SEND_SECONDS))
        if not self.lock.acquire(True, soon):
            return False
        try:
            return self.send_batch(soon)
        finally:
            self.lock.give()

    cpdef post(self):
        """Send what waits if that takes no waiting; else the sending thread does it."""
        if self.lock.try_take():
            try:
                if not self.transfers and not self.unsent():
                    self.send_batch(0)
            except TimeoutError:  # Of a signal handler.
                raise
            except (FastsockError, OSError):
                pass  # The sending thread meets it again.
            finally:
                self.lock.give()
        if self.outgoing or self.transfers or self.unsent():
            self.send_later()

    cpdef bint unsent(self):
        """Return whether the client holds bytes that the kernel has not taken."""
        return self.client.bytes_queued != self.client.bytes_sent

    cpdef bint was_late(self):
        """Return whether the TimeoutError that the client raised last is its own. That of a signal
        handler is the caller's."""
        late, self.client.late = self.client.late, False
        return late


cdef class LinkCore:
    """What :class:`fastsock.rpc.client.link.Link` is made of.

    ``pending`` are the calls that have no answer yet, by number; ``abandoned`` the numbers of those
    that the server has not ended yet though nothing waits for them any more; ``unstarted`` the
    calls that wait for fewer of both; ``attended`` those that are to end even if no thread waits
    for them. ``leader``: the thread that reads, or 0; ``followers`` wait for that. ``useful``: a
    call was answered here. ``left``: new calls go elsewhere, and it ends with the last of its own.
    """

    cdef readonly object owner
    cdef readonly Endings endings
    cdef readonly ClientCore client
    cdef readonly SenderCore sender
    cdef readonly Lock lock
    cdef readonly object unstarted
    cdef readonly dict pending, followers, attended
    cdef readonly set abandoned
    cdef readonly list answered
    cdef public object attendant, numbers, silent_since, pinged_at
    cdef public uint64_t next_id, uncredited
    cdef public unsigned long leader
    cdef public bint left, useful
    cdef double keepalive

    def __cinit__(self, owner, SenderCore sender not None, *_):
        self.owner = owner
        self.endings = owner.endings
        self.keepalive = owner.settings.keepalive
        self.sender = sender
        self.client = sender.client
        self.lock = Lock()
        self.unstarted = deque()
        self.pending = {}
        self.abandoned = set()
        self.followers = {}
        self.attended = {}
        self.answered = []

    def _renew(self, attendant):
        """In a forked child: the locks may be held by threads that only the parent has."""
        self.lock = Lock()
        self.sender.renew()
        self.attendant = attendant
        self.attended = {}

    @property
    def dead(self):
        """Whether the connection has ended."""
        return self.sender.dead

    cdef bint call_alone(self, CallCore call) except -1:
        """Makes a call that has the link to itself, and waits for its answer, in the fewest steps.
        False, with nothing done, if others are here, or the call is long."""
        cdef uint64_t remaining_us = 0
        if type(call.body) is not bytes or len(<bytes>call.body) > CHUNK_BYTES or call.metadata:
            return False
        if call.attended or call.finished or call.signature.options.oneway:
            return False
        if call.deadline is not None:
            remaining_us = int(max(call.deadline - monotonic(), 1e-6) * 1e6)
        if not self.lead_with(call, self.numbers[call.signature.name], remaining_us):
            return False
        lost = None
        try:
            self.exchange(call)
        except TimeoutError:  # Of a signal handler.
            raise
        except (FastsockError, OSError) as error:
            lost = error
        finally:
            LinkCore.end_wait(self, call, True)
        if lost is not None:
            self.lose(lost)
        return True

    cdef bint lead_with(self, CallCore call, uint16_t method, uint64_t remaining_us) except -1:
        """Takes the call and the lead; False if others are here."""
        self.lock.take()
        try:
            if self.leader or self.pending or self.sender.transfers or self.sender.dead:
                return False
            if self.abandoned and self.full():
                return False
            # Here, since calls go out in the order of their numbers.
            frame = whole_frame(CALL, call.flags, method, self.next_id, remaining_us, call.body)
            self.leader = PyThread_get_thread_ident()
            call.link = self
            call.id = self.next_id
            self.next_id += 1
            self.pending[call.id] = call
            self.sender.outgoing.append((frame, call))
            return True
        finally:
            self.lock.give()

    cdef int exchange(self, CallCore call) except -1:
        """Sends the call and reads until something comes: mostly its answer."""
        cdef list frames
        self.sender.send_first(call)
        frames = LinkCore.receive(self, call.seconds_left(self.keepalive))
        if frames is None:
            return 0  # The caller that waits for the result goes on from here.
        if len(frames) != 1 or not self.take_answer(call, frames[0]):
            self.take(frames)
        return 0

    cdef bint take_answer(self, CallCore call, bytes frame) except -1:
        """Ends the call if the frame is its whole reply."""
        if not answers(frame, call.id) or CallCore.is_late(call):
            return False
        if self.pending.pop(call.id, None) is None:
            return False
        self.useful = True
        LinkCore.credit(self, len(frame))
        if not call.resendable:
            LinkCore.acknowledge(self, call.id)
        call.settle(frame)
        if call.attended:
            self.attended.pop(call, None)
        if self.endings.woken:
            self.endings.wake_loops()
        if self.unstarted:
            self.start_next()
            self.sender.post()
        if self.left:
            self.end_if_left()
        return True

    cpdef take(self, list frames):
        """Handle the frames, and tell the event loops that wait for them, and the server."""
        try:
            for frame in frames:
                self.handle(frame)
        except ConnectionClosed:
            raise
        except BaseException as error:  # Ctrl-C, say: frames that others wait for are lost.
            self.lose(ConnectionClosed(f"interrupted while it read: {error!r}", "local"))
            raise
        self.endings.wake_loops()
        if self.sender.outgoing:
            self.sender.post()

    cpdef list receive(self, timeout):
        """The next frames. A server that is silent for ``keepalive`` is asked whether it lives; if
        that does not help for as long again, ConnectionClosed. None if nothing comes."""
        try:
            frames = self.client.recv_some(FRAMES_MAX, timeout_ns(timeout), timeout)
        except TimeoutError:
            if not self.sender.was_late():
                raise
            self.check_silence(timeout)
            return None
        self.silent_since = self.pinged_at = None
        return frames

    cpdef receive_and_take(self, timeout):
        """Handles the next frames, if some come. In one step: a signal handler that raises comes
        before or after it, or the link is lost."""
        frames = LinkCore.receive(self, timeout)
        if frames is not None:
            LinkCore.take(self, frames)

    cpdef end_wait(self, waiter, bint led):
        """End a wait. If nobody reads then, the next thread that waits, or the attendant, does."""
        self.lock.take()
        try:
            if led:
                self.leader = 0
            else:
                self.followers.pop(waiter, None)
            if not self.leader and (self.followers or self.attended):
                self.hand_on()
        finally:
            self.lock.give()

    cdef int hand_on(self) except -1:
        try:
            self.wake_reader()
        except BaseException:  # A signal handler's, perhaps before anything was woken.
            self.wake_reader()
            raise
        return 0

    cdef int wake_reader(self) except -1:
        for heir in self.followers:
            heir.event.set()
            return 0
        self.attendant.take_over()
        return 0

    cpdef credit(self, uint64_t size):
        """So many bytes have come; the server may send as many more, and is told so now and then."""
        self.uncredited += size
        if self.uncredited >= CREDIT_BYTES:
            self.sender.put(wire.frame(wire.CREDIT, amount=self.uncredited))
            self.uncredited = 0

    cpdef acknowledge(self, uint64_t call):
        """The answer has come; the server need not keep it, and is told so now and then."""
        self.answered.append(call)
        if len(self.answered) >= ANSWERS_MAX:
            self.sender.put(wire.acknowledgement(self.answered))
            self.answered.clear()


cdef class ConnectorCore:
    """What :class:`fastsock.rpc.client.connector.Connector` is made of."""

    cdef public LinkCore link
    cdef readonly object settings
    cdef readonly Endings endings
    cdef public object call_class
    cdef object interceptors, timeout

    def __cinit__(self, settings, *_):
        self.settings = settings
        self.interceptors = settings.interceptors
        self.timeout = settings.timeout
        self.endings = Endings()

    cpdef make(self, kind, signature, tuple args, dict kwargs):
        """A call, or stream, that has not begun; what the caller did wrong is raised."""
        cdef CallCore call
        if kwargs or len(args) != len(signature.types):
            args = signature.bind(args, kwargs)
        deadline = deadline_now()
        if self.timeout is not None or deadline is not None:
            now = monotonic()
            if self.timeout is not None:
                ours = now + self.timeout
                deadline = ours if deadline is None else min(ours, deadline)
            if deadline <= now:
                raise DeadlineExceeded(f"{signature.name} did not start: its time is over")
        call = kind(self, signature, args, deadline)
        if type(call.body) is not bytes or len(<bytes>call.body) > CHUNK_BYTES:
            self.check_size(call)
        metadata = value_of(_metadata)
        if metadata:
            packed = wire.encode(metadata)
            call.metadata = len(packed).to_bytes(2) + packed
        try:
            for intercept in self.interceptors:
                if isawaitable(intercept(call)):
                    raise TypeError(f"the interceptor {intercept!r} returned an awaitable, which"
                                    " nobody awaits")
        except BaseException as error:
            call.finish(None, error)
            raise
        return call

    cpdef call(self, signature, tuple args, dict kwargs):
        """Calls and waits for the result."""
        cdef CallCore call = ConnectorCore.make(self, self.call_class, signature, args, kwargs)
        cdef LinkCore link = self.link  # It stays while the call is there, even if it is replaced.
        if link is None:
            raise TypeError("this connector was made by __new__ alone: it is connected to nothing")
        try:
            if not link.call_alone(call) and self.begin_beside(call):
                return None
            if call.outcome is None:
                return call.result()
        except BaseException:
            call.cancel()  # Where it has not ended, the wait was interrupted.
            raise
        value, error = call.outcome
        if error is not None:
            raise error
        return value


cdef class BoundCore:
    """What the methods of a stub are made of."""

    cdef readonly ConnectorCore _connector
    cdef readonly object _signature

    def __cinit__(self, ConnectorCore connector not None, signature):
        self._connector = connector
        self._signature = signature


cdef class CallableCore(BoundCore):
    """What the methods of a stub that have one result are made of."""

    def __call__(self, *args, **kwargs):
        """Calls it and waits for the result."""
        return self._connector.call(self._signature, args, kwargs)
