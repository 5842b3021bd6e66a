"""The programs in examples/, as real processes."""

import socket
from pathlib import Path

import pytest
from conftest import read_exactly, read_to_end
from peers.process import WAIT

pytest_plugins = ["peers.fixtures"]

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(programs, name, *arguments):
    return programs.python(str(EXAMPLES / f"{name}.py"), *map(str, arguments))


def listening(programs, name, *arguments):
    """An example that serves a free port, and the port."""
    server = example(programs, name, *arguments, 0)
    return server, int(server.expect("listening on port ").rpartition(" ")[2])


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def test_free_port(programs):
    program = example(programs, "free_port")
    assert program.wait() == 0
    for line in program.out.splitlines():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", int(line.rpartition(" ")[2])))
    assert len(program.out.splitlines()) == 2


@pytest.mark.parametrize("who", ["client", "server"])
def test_single_server(programs, who):
    server, port = listening(programs, "single_server")
    with connect(port) as client:
        server.expect("connected: 127.0.0.1 ")
        client.sendall("grüß dich\n".encode())
        server.expect("client says: grüß dich\n")
        server.type("hello\n")
        assert read_exactly(client, 6) == b"hello\n"
        if who == "server":
            server.type("end\n")
            assert read_to_end(client) == b"end\n"
        else:
            client.sendall(b"end\n")
            assert read_to_end(client) == b""
    assert server.wait() == 0
    assert server.err == ""


def test_many_server_connectors_and_input_terminals(programs, tmp_path):
    server, port = listening(programs, "many_server", tmp_path / "server")
    assert "lo AF_INET 127.0.0.1" in server.out
    clients, terminals = [], []
    for number in 1, 2:
        path = tmp_path / str(number)
        client = example(programs, "connector", path, "localhost", port)
        client.expect("official name: localhost")
        client.expect("connected from 127.0.0.1 ")
        server.expect(f"new connection {number} 127.0.0.1 ")
        clients.append(client)
        terminals.append(example(programs, "input_terminal", path))
        terminals[-1].type(f"I am {number}\n")
        server.expect(f"connection {number} says: I am {number}\n")
    terminal = example(programs, "input_terminal", tmp_path / "server")
    terminal.type("@2 only you\n@7 nobody\nall of you\n")
    server.expect("connected: 1 2\n")
    for client in clients:
        client.expect("server says: all of you\n")
    assert "only you" in clients[1].out
    assert "only you" not in clients[0].out
    terminals[0].type("end\n")
    assert clients[0].wait() == 0
    terminal.type("end\n")
    assert clients[1].wait() == 0
    assert server.wait() == 0
    for each in *terminals, terminal:
        each.close_stdin()
        assert each.wait() == 0
        assert each.err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_connector_joins_a_single_server(programs, tmp_path):
    server, port = listening(programs, "single_server")
    client = example(programs, "connector", tmp_path / "fifo", "127.0.0.1", port)
    server.expect("connected: ")
    (tmp_path / "fifo").write_text("hello\n")
    server.expect("client says: hello\n")
    server.type("hello yourself\nend\n")
    client.expect("server says: hello yourself\nserver says: end\n")
    assert client.wait() == 0
    assert server.wait() == 0


def test_every_example_is_listed():
    readme = (EXAMPLES / "README.md").read_text()
    for program in EXAMPLES.glob("*.py"):
        assert f"[{program.name}]({program.name})" in readme
    assert "(examples/README.md)" in EXAMPLES.with_name("README.md").read_text()
