"""The bar: what a plain C program without Python reaches (csrc/rpc_limit.c, csrc/rpc_load.c)."""

import os

from benchmarks.build import compiled


def serve() -> None:
    program = compiled("rpc_limit")
    os.execv(program, [str(program)])
