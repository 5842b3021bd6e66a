"""The bar: what a plain C program without Python reaches (csrc/echo_limit.c)."""

import os

from benchmarks.build import compiled


def serve() -> None:
    program = compiled("echo_limit")
    os.execv(program, [str(program)])
