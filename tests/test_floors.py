"""The floors of the house: a file names files of its own floor and of lower ones."""

import floors

FLOORS = (
    "csrc/base",
    "csrc/io",
    "csrc/wire",
    "csrc/log",
    "csrc/engine/fs_inbox csrc/engine/fs_listener csrc/engine/fs_pace csrc/engine/fs_types",
    "csrc/engine/fs_reactor.h csrc/engine/fs_conn",
    "csrc/engine/fs_state csrc/engine/fs_stats",
    "csrc/engine/fs_subscribe",
    "csrc/engine/fs_close csrc/engine/fs_publish csrc/engine/fs_waiter",
    "csrc/engine/fs_flush csrc/engine/fs_idle csrc/engine/fs_route",
    "csrc/engine/fs_accept csrc/engine/fs_receive csrc/engine/fs_slow",
    "csrc/engine/fs_turn csrc/engine/fs_reactor",
    "csrc/engine/fs_borrow",
    "fastsock/_cli fastsock/_csrc fastsock/_extras fastsock/_lazy fastsock/_version",
    "fastsock/errors",
    "fastsock/posix",
    "fastsock/core",
    "fastsock/client fastsock/fifo fastsock/net fastsock/server",
    "fastsock/__init__",
    "fastsock/rpc/errors fastsock/rpc/values fastsock/rpc/wire",
    "fastsock/rpc/_context",
    "fastsock/rpc/context",
    "fastsock/rpc/signature",
    "fastsock/rpc/client",
    "fastsock/rpc/describe fastsock/rpc/interface",
    "fastsock/rpc/matchmaker fastsock/rpc/stub",
    "fastsock/rpc/server",
    "fastsock/rpc",
    "fastsock/rpc/cli fastsock/chat",
    "fastsock/_scripts fastsock/chat/__main__ fastsock/rpc/__main__",
)
"""From the ground up. A longer name wins over that of its folder."""


def test_no_file_names_one_of_a_higher_floor():
    assert floors.upward(floors.arrows(), FLOORS) == []


def test_no_files_form_a_circle():
    assert floors.circles(floors.arrows()) == []


def made_up(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return floors.arrows(root)


def test_an_arrow_up_is_found_in_every_language(tmp_path):
    graph = made_up(
        tmp_path,
        {
            "csrc/base/fs_base.c": '#include "io/fs_sys.h"\n',
            "csrc/io/fs_sys.h": "",
            "fastsock/errors.py": "def late():\n    from fastsock.core import gate\n",
            "fastsock/core/gate.py": "",
            "fastsock/core/_lock.pyx": "from fastsock.server._engine cimport (\n    Engine,\n)\n",
            "fastsock/server/_engine.pxd": "cdef class Engine:\n    pass\n",
        },
    )
    assert floors.upward(graph, FLOORS) == [
        ("csrc/base/fs_base", "csrc/io/fs_sys"),
        ("fastsock/core/_lock", "fastsock/server/_engine"),
        ("fastsock/errors", "fastsock/core/gate"),
    ]


def test_a_circle_of_files_is_found(tmp_path):
    graph = made_up(
        tmp_path,
        {
            "csrc/log/fs_log.c": '#include "log/fs_log.h"\n#include "log/fs_outbox.h"\n',
            "csrc/log/fs_log.h": "",
            "csrc/log/fs_outbox.h": '#include "log/fs_log.h"\n',
            "fastsock/core/gate.py": "import fastsock.core.flag\n",
            "fastsock/core/flag.py": "from fastsock.core.gate import Gate\n",
        },
    )
    assert floors.circles(graph) == [
        ["csrc/log/fs_log", "csrc/log/fs_outbox"],
        ["fastsock/core/flag", "fastsock/core/gate"],
    ]
