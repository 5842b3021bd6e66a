"""Numbers that nobody means, and initialisation twice: refused in words, or done."""

import contextlib
import copy
import gc
import pickle
import subprocess
import sys

import pytest
from conftest import open_descriptors
from peers import odd_numbers

SECONDS_MAX = 170
MODULES = {
    "fastsock": 50,
    "fastsock.posix": 60,
    "fastsock.rpc": 20,
    "fastsock.fifo": 4,
    "fastsock.server._connection": 4,
    "fastsock.rpc.matchmaker.service": 3,
}
"""Public modules, and two whose classes are met without an import: at least so many parameters."""


@pytest.mark.parametrize(("module", "least"), MODULES.items())
def test_numbers_that_nobody_means_are_refused_in_words_or_taken(module, least):
    command = [sys.executable, "-P", odd_numbers.__file__, module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    *faults, last = done.stdout.splitlines()
    assert (faults, done.stderr, done.returncode) == ([], "", 0)
    assert int(last.removeprefix("parameters ")) >= least


@pytest.mark.parametrize("name", sorted(odd_numbers.MADE.keys() - {"Socket"}))  # is socket.socket's
def test_a_second_init_leaks_nothing_and_leaves_the_object_as_it_was(name):
    with contextlib.ExitStack() as stack:
        scene = odd_numbers.Scene(stack)
        made = odd_numbers.MADE[name](scene)
        given = {}
        with contextlib.suppress(KeyError, ValueError):  # what only the package itself makes
            given = scene.arguments(type(made))
        shown, before = repr(made), open_descriptors()
        with contextlib.suppress(TypeError, RuntimeError):
            made.__init__(**given)
        gc.collect()
        assert (repr(made), open_descriptors()) == (shown, before)


@pytest.mark.parametrize("name", sorted(odd_numbers.MADE.keys() - {"Splitter", "Matchmaker"}))
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_has_something_of_the_systems_is_not_copied(name, how):
    """A copy would close what is not its own, perhaps when that is another one's already."""
    with contextlib.ExitStack() as stack:
        made = odd_numbers.MADE[name](odd_numbers.Scene(stack))
        with pytest.raises(TypeError, match="copied|pickle"):
            how(made)
