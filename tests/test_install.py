"""What is released works without this clone: the sdist, and the wheel that is built from it."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
TRY = """
import sys
from fastsock import Client, Message, MultiServer, rpc

assert rpc.__file__.startswith(sys.prefix), rpc.__file__

class Adder(rpc.Service):
    @rpc.method
    def add(self, a: int, b: int) -> int:
        return a + b

with MultiServer(("127.0.0.1", 0)) as server, Client.connect(server.address) as client:
    client.send(b"hello")
    assert next(event.data for event in server if isinstance(event, Message)) == b"hello"
with rpc.serve(Adder()) as server, rpc.connect(Adder, server.address) as adder:
    assert adder.add(1, 2) == 3
"""

pytestmark = pytest.mark.timeout(300)  # everything is compiled once more


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The unpacked sdist of a copy of what git has, so that nothing built here is in it."""
    place = tmp_path_factory.mktemp("sdist")
    clone = place / "clone"
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((CLONE / name).read_bytes())
    run(sys.executable, "-c", SDIST, str(place), cwd=clone)
    [archive] = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return place / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place))
    told = run(*PIP, *build, str(source), cwd=place, env=released())
    assert "warning" not in told.lower()
    return next(place.glob("*.whl"))


def released():
    """The environment without what changes the build."""
    return {key: value for key, value in os.environ.items() if not key.startswith("FASTSOCK_")}


def tracked():
    """The files of the clone, by git, whoever owns it; in an unpacked sdist there is none."""
    if not (CLONE / ".git").exists() or not shutil.which("git"):
        pytest.skip("no clone, or no git")
    return run("git", "-c", "safe.directory=*", "ls-files", cwd=CLONE).split("\n")[:-1]


def test_the_sdist_has_what_git_has(source):
    wanted = {name for name in tracked() if not name.endswith(".gitignore")}
    held = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert wanted - held == set()
    made = {name for name in held - wanted if not name.startswith("fastsock.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_has_what_it_needs_at_run_time_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as packed:
        held = {name: packed.read(name) for name in packed.namelist()}
    kinds = {Path(name).suffix for name in held if name.startswith("fastsock/")}
    assert kinds == {".py", ".pyi", ".so", ".typed", ".txt"}
    assert not [name for name, data in held.items() if b".debug_info" in data]
    modules = {name.split(".")[0] for name in held if name.endswith(".so")}
    sources = (str(path.relative_to(CLONE)) for path in CLONE.glob("fastsock/**/*.pyx"))
    assert modules == {name.removesuffix(".pyx") for name in sources}


def test_an_installed_wheel_works_and_leaves_nothing(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    before = set(home.rglob("*"))
    target = ("--python", str(home / "bin" / "python"))
    env = {**released(), "PATH": str(home / "bin")}  # no compiler
    env.pop("PYTHONPATH", None)
    run(*PIP, *target, "install", "--quiet", f"fastsock[chat,rpc] @ {wheel.as_uri()}", env=env)
    there = {"cwd": tmp_path, "env": env}
    (tmp_path / "try.py").write_text(TRY)
    run(str(home / "bin" / "python"), "-W", "error", "try.py", **there)
    for command in ("fastsock-chat", "fastsock-rpc"):
        assert "version" in run(str(home / "bin" / command), "--version", **there)
    run(*PIP, *target, "uninstall", "--quiet", "--yes", "fastsock", env=env)
    left = {path.name for path in set(home.rglob("*")) - before}
    assert not [name for name in left if "fastsock" in name]


def test_without_a_compiler_it_says_so_before_anything_else(source, tmp_path):
    env = {**released(), "PATH": str(tmp_path)}
    env.pop("CC", None)
    build = (*PIP, "wheel", "--no-deps", "--no-build-isolation", str(source))
    done = subprocess.run(build, capture_output=True, text=True, cwd=tmp_path, env=env)
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert "fastsock needs a C compiler, and there is no" in told
    assert "copying" not in told
