"""The lock that Python and Cython share; threading.Lock is held against the same tests."""

import signal
import threading
import time

import pytest
from calls import Call
from conftest import WAIT

from fastsock.core._lock import Lock


@pytest.fixture(params=[Lock, threading.Lock])
def lock(request):
    return request.param()


def test_one_has_it_at_a_time(lock):
    counted = 0

    def count():
        nonlocal counted
        for _ in range(2000):
            with lock:
                before = counted
                time.sleep(0)  # Lets another thread in.
                counted = before + 1

    threads = [Call(count) for _ in range(4)]
    for thread in threads:
        thread.wait_result()
    assert counted == 8000


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.acquire(False) is False
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(timeout=0.001) is False
    lock.release()
    assert lock.acquire(True, 0.001) is True
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    with lock:
        assert lock.acquire(False) is False
    assert lock.acquire(False) is True


def test_who_waits_gets_it_when_it_is_given_back(lock):
    lock.acquire()
    waiting = Call(lambda: lock.acquire(timeout=WAIT))
    waiting.wait_asleep()
    lock.release()
    assert waiting.wait_result() is True
    assert lock.acquire(False) is False


def test_an_exception_gives_it_back(lock):
    with pytest.raises(ValueError), lock:
        raise ValueError
    assert lock.acquire(False) is True


class Rung(Exception):
    pass


@pytest.mark.parametrize("timeout", [-1, WAIT])
def test_a_signal_reaches_who_waits(lock, timeout):
    def ring(signum, frame):
        raise Rung

    before = signal.signal(signal.SIGALRM, ring)
    Call(lock.acquire).wait_result()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Rung):
            lock.acquire(timeout=timeout)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    lock.release()
    assert lock.acquire(False) is True


@pytest.mark.parametrize("timeout", [-1, WAIT])
def test_a_signal_that_raises_nothing_does_not_end_the_wait(lock, timeout):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda signum, frame: rung.append(lock.release()))
    Call(lock.acquire).wait_result()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert lock.acquire(timeout=timeout) is True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung == [None]


# ---- What threading.Lock does not do ----


def test_a_thread_does_not_wait_for_itself():
    lock = Lock()
    with lock:
        assert lock.mine and not Call(lambda: lock.mine).wait_result()
        for call in (lock.acquire, lock.__enter__):
            with pytest.raises(RuntimeError, match="this thread is in the same call already"):
                call()
        assert lock.acquire(timeout=WAIT) is False
    assert not lock.mine and lock.acquire(False)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -0.5, -2, 2e9])
def test_a_timeout_that_cannot_be_is_refused(timeout):
    lock = Lock()
    with pytest.raises(ValueError, match="timeout must be -1 or from 0 to 1e9 seconds"):
        lock.acquire(timeout=timeout)
    assert lock.acquire(timeout=0)
