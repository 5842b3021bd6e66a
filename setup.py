"""Builds the C extensions; everything else is in pyproject.toml.

FASTSOCK_BUILD selects the flags: release (default), debug, asan or cov. The warnings of csrc/ are
the business of "make ctest", which compiles it without Cython's generated code.
"""

import copy
import os
import shlex
import shutil
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

FLAGS = {
    "release": ["-O3", "-DNDEBUG", "-g0"],
    "debug": ["-O0", "-g3"],
    "asan": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
    "cov": ["-O0", "-g", "--coverage"],
}
LINK_FLAGS = {"release": ["-s"], "asan": ["-fsanitize=address,undefined"], "cov": ["--coverage"]}
KIND = os.environ.get("FASTSOCK_BUILD", "release")
if KIND not in FLAGS:
    raise SystemExit(f"FASTSOCK_BUILD={KIND!r} is not one of {', '.join(FLAGS)}")

BATCH = "csrc/io/fs_batch.c"  # for posix._batch alone
LINKED = {
    "fastsock.posix._batch": [BATCH],
    "fastsock.client._stream": ["csrc/io/fs_sys.c", *sorted(glob("csrc/wire/fs_codec_*.c"))],
    "fastsock.client._sender": ["csrc/io/fs_sys.c"],
    "fastsock.client._endpoint": ["csrc/io/fs_sys.c"],
    "fastsock.core._convert": ["csrc/io/fs_sys.c"],
    "fastsock.server._dispatch": ["csrc/io/fs_sys.c"],
    "fastsock.server._engine": sorted(set(glob("csrc/*/*.c")) - {BATCH}),
    "fastsock.client._accept": ["csrc/engine/fs_listener.c", "csrc/io/fs_sys.c"],
}
"""The C files that an extension links; the others link none."""

LINUX_ONLY = (
    "fastsock/posix/_batch",
    "fastsock/posix/_calls",
    "fastsock/posix/_sendmsg",
    "fastsock/posix/_socket",
    "fastsock/rpc/server/",
    "fastsock/server/",
)
"""What needs epoll, eventfd, timerfd, memfd or calls that POSIX does not have. Elsewhere the rest
is built: clients, and a server of one client."""


def sources() -> list[str]:
    """The .pyx files that can be compiled on this platform."""
    found = sorted(glob("fastsock/**/*.pyx", recursive=True))
    return [each for each in found if sys.platform == "linux" or not each.startswith(LINUX_ONLY)]


def extension(source: str) -> Extension:
    """The extension module of a .pyx file."""
    name = source.removesuffix(".pyx").replace("/", ".")
    return Extension(
        name,
        [source, *LINKED.get(name, ())],
        depends=[
            *sorted(glob("csrc/*/*.h")),
            *sorted(glob("fastsock/**/*.pxd", recursive=True)),
            "setup.py",
        ],
        include_dirs=["csrc"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=["-std=c11", "-fvisibility=hidden", *FLAGS[KIND]],
        extra_link_args=LINK_FLAGS.get(KIND, []),
    )


def need_compiler() -> None:
    """Ends with one line if the extensions cannot be compiled here."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"fastsock needs a C compiler, and there is no {compiler}: apt-get install gcc"
        )
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        raise SystemExit(f"fastsock needs {header}: apt-get install python3-dev")


class Build(build):
    """Compiles first: what cannot be compiled ends before anything is copied."""

    sub_commands = sorted(build.sub_commands, key=lambda command: command[0] != "build_ext")


class BuildExt(build_ext):
    """Compiles the extensions beside each other, on all processors."""

    def run(self) -> None:
        need_compiler()
        if self.inplace:  # An editable installation and "make build" share what is compiled.
            self.build_lib, self.build_temp = f"build/{KIND}/lib", f"build/{KIND}/temp"
        self.parallel = self.parallel or os.cpu_count()
        self._to_c()
        super().run()

    def _to_c(self) -> None:
        from Cython.Build import cythonize

        made = cythonize(
            self.extensions,
            build_dir=f"build/cython-{KIND}",
            nthreads=self.parallel,
            quiet=True,
            compiler_directives={
                "language_level": 3,
                "auto_pickle": False,
                "boundscheck": False,
                "wraparound": False,
                "embedsignature": True,
                "embedsignature.format": "python",
                "warn.unreachable": True,
                # What objects guard by the GIL is not safe without it: a free-threaded Python
                # turns it on when it imports this, and says so.
                "freethreading_compatible": False,
            },
        )
        for ext, in_c in zip(self.extensions, made, strict=True):
            ext.sources, ext.depends = in_c.sources, in_c.depends

    def build_extension(self, ext: Extension) -> None:
        """Keeps the objects of each extension apart: a source that several link is compiled at
        the same time, and has coverage notes for each."""
        alone = copy.copy(self)
        alone.build_temp = os.path.join(self.build_temp, ext.name)
        super(BuildExt, alone).build_extension(ext)


if __name__ == "__main__":  # The processes that run Cython may import this file.
    setup(
        cmdclass={"build": Build, "build_ext": BuildExt},
        ext_modules=[extension(source) for source in sources()],
    )
