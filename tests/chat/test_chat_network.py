"""``fastsock-chat port`` and ``fastsock-chat interfaces``."""

import json
import socket

import pytest

import fastsock

pytest_plugins = ["peers.fixtures"]


def said(programs, *arguments):
    """What a command prints that ends well."""
    chat = programs.chat(*arguments)
    assert chat.wait() == 0
    assert chat.err == ""
    return chat.out


@pytest.mark.parametrize(
    ("options", "family", "kind", "host"),
    [
        ([], socket.AF_INET, socket.SOCK_STREAM, ""),
        (["--udp"], socket.AF_INET, socket.SOCK_DGRAM, ""),
        (["--ipv6"], socket.AF_INET6, socket.SOCK_STREAM, ""),
        (["--host", "::1", "--udp"], socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
        (["--host", "localhost"], socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
    ],
)
def test_a_port_that_is_printed_can_be_taken(programs, options, family, kind, host):
    port = int(said(programs, "port", *options))
    with socket.socket(family, kind) as taken:
        taken.bind((host, port))


def test_a_port_as_json(programs):
    told = json.loads(said(programs, "port", "--json", "--udp", "--host", "127.0.0.1"))
    assert 0 < told.pop("port") < 65536
    assert told == {"host": "127.0.0.1", "protocol": "udp"}


def test_a_line_for_each_address_of_each_interface(programs):
    lines = said(programs, "interfaces").splitlines()
    assert lines == [str(interface) for interface in fastsock.interfaces()]
    assert any(line.startswith("lo AF_INET 127.0.0.1 netmask 255.0.0.0 <IFF_UP|") for line in lines)


def test_interfaces_as_json(programs):
    told = json.loads(said(programs, "interfaces", "--json"))
    assert [entry["name"] for entry in told] == [each.name for each in fastsock.interfaces()]
    (home,) = [entry for entry in told if entry["address"] == "127.0.0.1"]
    assert home.items() >= {"name": "lo", "index": 1, "family": "AF_INET", "peer": None}.items()
    assert "IFF_LOOPBACK" in home["flags"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["port", "--host", "no-such-host.invalid"], 1, "'no-such-host.invalid'"),
        (["port", "--host", "192.0.2.77"], 1, "no port of '192.0.2.77' is free"),
        (["port", "--host", "127.0.0.1", "--ipv6"], 1, "not supported: '127.0.0.1'"),
        (["port", "--host", "x" * 64 + ".invalid"], 2, "is not the name of a host"),
        (["port", "9000"], 2, "unexpected extra argument (9000)"),
        (["interfaces", "eth0"], 2, "unexpected extra argument (eth0)"),
    ],
)
def test_bad_arguments_are_one_line(programs, arguments, status, told):
    chat = programs.chat(*arguments)
    assert chat.wait() == status
    assert chat.out == ""
    assert chat.err.startswith("fastsock-chat: ")
    assert told in chat.err
    assert chat.err.count("\n") == 1


@pytest.mark.parametrize("command", ["port", "interfaces"])
def test_stdout_that_takes_nothing(programs, command):
    with open("/dev/full", "wb") as full:
        chat = programs.chat(command, stdout=full)
        assert chat.wait() == 1
    assert chat.err == "fastsock-chat: No space left on device\n"
