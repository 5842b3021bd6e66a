"""What an installation lacks is said in one line, with how to get it."""

import json
import shutil
from pathlib import Path

import pytest
from peers.process import ROOT

pytest_plugins = ["peers.fixtures"]

ORIGINS = {
    "index": (None, "pip install 'fastsock[{}]'"),
    "clone": (
        {"url": "file:///src/it", "dir_info": {}},
        "pip install 'fastsock[{}] @ file:///src/it'",
    ),
    "editable": (
        {"url": "file:///src/it", "dir_info": {"editable": True}},
        "pip install --editable 'file:///src/it[{}]'",
    ),
    "git": (
        {"url": "https://example.org/it", "vcs_info": {"vcs": "git"}},
        "pip install 'fastsock[{}] @ git+https://example.org/it'",
    ),
}
MISSING = {
    "chat": (("rich",), "fastsock-chat: rich missing"),
    "rpc": (("click", "rich"), "fastsock-rpc: click and rich missing"),
}
HIDE = """
import importlib.util, sys
hidden, find = sys.argv[1].split(","), importlib.util.find_spec
for name in hidden:
    sys.modules[name] = None
importlib.util.find_spec = lambda name: None if name in hidden else find(name)
"""
MAIN = {
    "chat": HIDE + "import fastsock._scripts; fastsock._scripts.chat()",
    "rpc": HIDE + "import fastsock._scripts; fastsock._scripts.rpc()",
}


@pytest.fixture
def installed(tmp_path):
    """Makes an environment where fastsock appears to be installed from an origin."""

    def install(origin):
        info = tmp_path / "path" / "fastsock-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fastsock\nVersion: 1.0\n")
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
        return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{info.parent}:{ROOT}"}

    return install


@pytest.mark.parametrize("extra", ["chat", "rpc"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_missing_extra_is_told_with_how_to_get_it_from_there(programs, installed, origin, extra):
    came_from, command = ORIGINS[origin]
    names, told = MISSING[extra]
    program = programs.python("-c", MAIN[extra], ",".join(names), env=installed(came_from))
    assert program.wait() == 1
    assert program.err == f"{told}: {command.format(extra)}\n"


def test_python_m_fastsock_rpc_without_the_extra_is_one_line(programs, installed, tmp_path):
    env = installed(None)
    (tmp_path / "path" / "msgspec.py").write_text("raise ImportError\n")
    program = programs.python("-m", "fastsock.rpc", "--help", env=env)
    assert program.wait() == 1
    assert program.err == "fastsock.rpc needs msgspec: pip install 'fastsock[rpc]'\n"
    program = programs.python("-c", "import fastsock.rpc", env=env)
    assert program.wait() == 1
    assert program.err.endswith(
        "\nImportError: fastsock.rpc needs msgspec: pip install 'fastsock[rpc]'\n"
    )


def test_a_clone_that_is_not_built_says_make_build(programs, tmp_path):
    shutil.copytree(
        Path(ROOT) / "fastsock",
        tmp_path / "fastsock",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    program = programs.python("-S", "-c", "import fastsock", env=env)  # no finder of the clone
    assert program.wait() == 1
    assert "is not compiled for this Python: run 'make build'" in program.err.splitlines()[-1]
