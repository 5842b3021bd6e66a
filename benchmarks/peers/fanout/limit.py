"""The bar: what a plain C program without Python reaches (csrc/limit.c)."""

import os

from benchmarks.build import compiled


def serve() -> None:
    program = compiled("limit")
    os.execv(program, [str(program)])
