"""Builds the C extensions; everything else is in pyproject.toml.

FASTSOCK_BUILD selects the flags: release (default), debug, asan or cov. The warnings of csrc/ are
the business of "make ctest", which compiles it without Cython's generated code.
"""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FLAGS = {
    "release": ["-O3", "-DNDEBUG"],
    "debug": ["-O0", "-g3"],
    "asan": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
    "cov": ["-O0", "-g", "--coverage"],
}
build = os.environ.get("FASTSOCK_BUILD", "release")
if build not in FLAGS:
    raise SystemExit(f"FASTSOCK_BUILD={build!r} is not one of {', '.join(FLAGS)}")

compile_args = ["-std=c11", "-fvisibility=hidden", *FLAGS[build]]
link_args = [flag for flag in FLAGS[build] if flag.startswith(("-fsanitize", "--coverage"))]
BATCH = "csrc/fs_batch.c"  # for _batch alone
PLAIN = (
    *("_address", "_call", "_config", "_connection", "_events", "_gathered", "_hot", "_lock"),
    *("_message", "_posix", "rpc._body", "rpc._calling", "rpc._inline", "rpc._values"),
)


def extension(name: str, sources: list[str]) -> Extension:
    """One extension module: fastsock/<name>.pyx and the C files that it links."""
    return Extension(
        f"fastsock.{name}",
        [f"fastsock/{name.replace('.', '/')}.pyx", *sources],
        depends=[*glob("csrc/*.h"), *glob("fastsock/**/*.pxd", recursive=True), "setup.py"],
        include_dirs=["csrc"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


class BuildExt(build_ext):
    """Keeps the object files of a source that several extensions link apart: each has coverage
    notes of its own."""

    def build_extension(self, ext: Extension) -> None:
        shared = self.build_temp
        self.build_temp = os.path.join(shared, ext.name)
        super().build_extension(ext)
        self.build_temp = shared


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=cythonize(
        [
            extension("_convert", ["csrc/fs_sys.c"]),
            extension("_listener", ["csrc/fs_sys.c"]),
            extension("_core", sorted(set(glob("csrc/*.c")) - {BATCH})),
            extension("_client", ["csrc/fs_sys.c", *glob("csrc/fs_codec_*.c")]),
            extension("_batch", [BATCH]),
            *(extension(name, []) for name in PLAIN),
        ],
        build_dir=f"build/cython-{build}",
        compiler_directives={
            "language_level": 3,
            "auto_pickle": False,
            "boundscheck": False,
            "wraparound": False,
            "embedsignature": True,
            "embedsignature.format": "python",
            "warn.unreachable": True,
        },
    ),
)
