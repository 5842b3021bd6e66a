"""The bar: what a plain C program without Python reaches (csrc/ingest_limit.c)."""

import os

from benchmarks.build import compiled


def serve() -> None:
    program = compiled("ingest_limit")
    os.execv(program, [str(program)])
