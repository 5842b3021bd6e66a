"""Builds the C extensions; everything else is in pyproject.toml.

FASTSOCK_BUILD selects the flags: release (default), debug, asan or cov. FASTSOCK_WERROR=1 turns
the compiler's warnings into errors, as CI does.
"""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = {
    "release": ["-O3", "-DNDEBUG"],
    "debug": ["-O0", "-g3"],
    "asan": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
    "cov": ["-O0", "-g", "--coverage"],
}
build = os.environ.get("FASTSOCK_BUILD", "release")
if build not in FLAGS:
    raise SystemExit(f"FASTSOCK_BUILD={build!r} is not one of {', '.join(FLAGS)}")

compile_args = ["-std=c11", "-Wall", "-Wextra", "-Wshadow", "-fvisibility=hidden", *FLAGS[build]]
if os.environ.get("FASTSOCK_WERROR") == "1":
    compile_args.append("-Werror")
link_args = [flag for flag in FLAGS[build] if flag.startswith(("-fsanitize", "--coverage"))]


def extension(name: str, sources: list[str]) -> Extension:
    """One extension module: fastsock/<name>.pyx and the C files that it links."""
    return Extension(
        f"fastsock.{name}",
        [f"fastsock/{name}.pyx", *sources],
        depends=[*glob("csrc/*.h"), *glob("fastsock/*.pxd"), "setup.py"],
        include_dirs=["csrc"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


setup(
    ext_modules=cythonize(
        [extension("_core", sorted(glob("csrc/*.c")))],
        build_dir=f"build/cython-{build}",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "embedsignature": True,
            "embedsignature.format": "python",
            "warn.unreachable": True,
        },
    ),
)
