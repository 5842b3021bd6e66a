"""Uses an object that was made by ``__new__`` alone, in every way that Python has.

Arguments: the module and the name of its type. Prints how many uses raised an error, and each use
whose error does not tell its reader what is wrong.
"""

import faulthandler
import gc
import importlib
import inspect
import itertools
import os
import re
import sys

VALUES = (b"x", 1 << 20, None, [], {}, (), "x", 0.0, lambda *_: None)
USES = (repr, str, hash, len, bool, iter, next, list, bytes, memoryview, reversed, vars)
ARGUMENTS_MAX = 3
CALLS_MAX = 900
UNCLEAR = re.compile("'NoneType' object (has no|is not|cannot)|NULL|bad argument type for built-in")


def arguments(function, made):
    """Lists of arguments that a function may take, of many types."""
    try:
        kinds = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        kinds = ()
    needed = [kind for kind in kinds if kind.default is kind.empty]
    positional = sum(
        kind.kind in (kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD) for kind in needed
    )
    named = [kind.name for kind in needed if kind.kind is kind.KEYWORD_ONLY]
    counts = [positional] if kinds else range(ARGUMENTS_MAX + 1)
    for count in counts:
        values = (made, *VALUES) if count <= 2 else (made, b"x", 1, None)
        for chosen in itertools.islice(itertools.product(values, repeat=count), CALLS_MAX):
            yield chosen, {}
            if named:
                yield chosen, dict.fromkeys(named, made)


def uses(make):
    """Every way to use the object that is made, by name."""
    made = make()
    for name in sorted(set(dir(made)) - set(dir(object)) - {"__dict__", "__weakref__"}):
        yield f".{name}", lambda name=name: getattr(make(), name)
        yield f".{name} = None", lambda name=name: setattr(make(), name, None)
        yield f"del .{name}", lambda name=name: delattr(make(), name)
        try:
            function = getattr(made, name)
        except Exception:
            continue
        if callable(function):
            for args, options in arguments(function, made):
                yield (
                    f".{name}({', '.join(type(value).__name__ for value in args)})",
                    lambda name=name, args=args, options=options: getattr(make(), name)(
                        *args, **options
                    ),
                )
    for use in USES:
        yield use.__name__, lambda use=use: use(make())
    yield "==", lambda: make() == make()
    yield "<", lambda: make() < make()
    yield "in", lambda: 1 in make()
    yield "()", lambda: make()()
    yield "with", lambda: make().__exit__(None, None, None)
    yield "context", lambda: enter(make())


def enter(made):
    with made:
        pass


def clear(error):
    """Whether the reader of an error can tell what is wrong."""
    return not isinstance(error, SystemError) and not UNCLEAR.search(str(error))


def main(module, name):
    faulthandler.enable()
    unraised = []
    sys.unraisablehook = lambda found: unraised.append(repr(found.exc_value))
    made = getattr(importlib.import_module(module), name)

    def make():
        return made.__new__(made)

    try:
        make()
    except TypeError:
        print("refused")
        return
    raised, unclear = 0, {}
    null = os.open(os.devnull, os.O_RDWR)
    for what, use in uses(make):
        os.dup2(null, 0)
        try:
            use()
        except Exception as error:
            raised += 1
            if "NoneType" not in what and not clear(error):
                unclear[repr(error)] = what
    gc.collect()
    for error, what in unclear.items():
        print(f"{name}{what}: {error}")
    for error in unraised:
        print(f"{name}: unraisable {error}")
    print("raised", raised)


main(*sys.argv[1:])
