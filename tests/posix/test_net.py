"""Free ports, interfaces and names."""

import socket

import pytest

from fastsock import net, posix

# ---- free_port ----


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"host": "127.0.0.1"},
        {"host": "::1"},
        {"host": "localhost", "family": socket.AF_INET},
        {"family": socket.AF_INET6},
        {"type": socket.SOCK_DGRAM},
        {"host": "::1", "family": socket.AF_INET6, "type": socket.SOCK_DGRAM},
    ],
)
def test_a_free_port_can_be_taken(arguments):
    port = net.free_port(**arguments)
    host = arguments.get("host", "")
    family = arguments.get("family", socket.AF_INET6 if ":" in host else socket.AF_INET)
    with socket.socket(family, arguments.get("type", socket.SOCK_STREAM)) as sock:
        sock.bind((host, port))
        assert sock.getsockname()[1] == port > 0


def test_a_free_port_is_free_in_both_families(monkeypatch):
    with socket.create_server(("::", 0), family=socket.AF_INET6) as taken:
        wanted, given = taken.getsockname()[1], []

        class Kernel(socket.socket):
            """Gives the port that IPv6 uses, when it is asked for any, the first time."""

            def bind(self, address):
                if address[1] == 0 and not given:
                    given.append(address)
                    address = (address[0], wanted, *address[2:])
                super().bind(address)

        found = socket.getaddrinfo(None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        monkeypatch.setattr(net, "_look_up", lambda *_: sorted(found))
        monkeypatch.setattr(net.socket, "socket", Kernel)
        assert net.free_port() != wanted
        assert given


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"host": "192.0.2.77"}, OSError, "no port of '192.0.2.77' is free"),
        ({"host": "no such host"}, socket.gaierror, "'no such host'"),
        ({"host": "x" * 70 + ".example"}, ValueError, "xxx.*' is not the name of a host"),
        ({"host": "::1", "family": socket.AF_INET}, socket.gaierror, "'::1'"),
        ({"family": socket.AF_UNIX}, ValueError, "family must be AF_INET or AF_INET6, not .*AF_UN"),
        (
            {"type": socket.SOCK_RAW},
            ValueError,
            "type must be SOCK_STREAM or SOCK_DGRAM, not .*RAW",
        ),
    ],
)
def test_where_no_port_is_free(arguments, error, message):
    with pytest.raises(error, match=message):
        net.free_port(**arguments)


# ---- interfaces ----


def test_the_loopback_interface_is_there():
    records = [record for record in net.interfaces() if record.name == "lo"]
    v4 = next(record for record in records if record.address == "127.0.0.1")
    assert v4.family is socket.AF_INET
    assert v4.netmask == "255.0.0.0"
    assert v4.index == socket.if_nametoindex("lo")
    assert "IFF_LOOPBACK" in str(v4.flags).split("|")
    assert (v4.broadcast, v4.peer, v4.hardware) == (None, None, None)
    assert str(v4).startswith("lo AF_INET 127.0.0.1 netmask 255.0.0.0 <IFF_UP|")
    packet = next(record for record in records if record.family == socket.AF_PACKET)
    assert packet.hardware == "00:00:00:00:00:00"
    assert packet.address is None


def test_every_interface_of_the_kernel_is_there():
    assert {record.name for record in net.interfaces()} == {n for _, n in socket.if_nameindex()}


def test_every_address_can_be_listened_on():
    addresses = [record for record in net.interfaces() if record.address]
    assert addresses
    for record in addresses:
        with socket.socket(record.family, socket.SOCK_DGRAM) as sock:
            posix.bind(sock.fileno(), (record.address, 0))


def test_records_are_immutable_and_link_local_addresses_can_be_used(monkeypatch):
    flags = posix.InterfaceFlag.IFF_UP | posix.InterfaceFlag.IFF_BROADCAST
    mask = ("ffff:ffff:ffff:ffff::", 0, 0, 0)
    entries = [("lo", flags, socket.AF_INET6, ("fe80::1", 0, 0, 1), mask, None)]
    monkeypatch.setattr(posix, "getifaddrs", lambda: entries)
    (record,) = net.interfaces()
    assert record.address == "fe80::1%lo"
    assert posix.unpack_address(posix.pack_address((record.address, 1)))[3] == record.index
    with pytest.raises(AttributeError):
        record.name = "other"


V4, MAC = socket.AF_INET, socket.AF_PACKET


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            ("tun0", 1 << 4, V4, ("10.0.0.1", 0), ("255.255.255.255", 0), ("10.0.0.2", 0)),
            "tun0 AF_INET 10.0.0.1 netmask 255.255.255.255 peer 10.0.0.2 <IFF_POINTOPOINT>",
        ),
        (
            ("e0:1", 1 << 1, V4, ("10.0.0.1", 0), ("255.0.0.0", 0), ("10.255.255.255", 0)),
            "e0:1 AF_INET 10.0.0.1 netmask 255.0.0.0 broadcast 10.255.255.255 <IFF_BROADCAST>",
        ),
        (
            ("e0", 1 << 1, MAC, ("e0", 0, 0, 1, b"\2\xfc\0\0"), None, ("e0", 0, 0, 1, b"\xff\xff")),
            "e0 AF_PACKET 02:fc:00:00 broadcast ff:ff <IFF_BROADCAST>",
        ),
        (
            ("e0", 1 << 1, V4, ("10.7.7.7", 0), ("255.255.255.0", 0), ("10.7.7.7", 0)),
            "e0 AF_INET 10.7.7.7 netmask 255.255.255.0 <IFF_BROADCAST>",
        ),
        (
            ("e0", 1 << 1, V4, ("10.2.0.1", 0), ("255.255.255.255", 0), ("10.2.0.2", 0)),
            "e0 AF_INET 10.2.0.1 netmask 255.255.255.255 peer 10.2.0.2 <IFF_BROADCAST>",
        ),
        (
            ("e0", 1 << 1, socket.AF_INET6, ("fd00::1", 0, 0, 0), None, ("fd00::2", 0, 0, 0)),
            "e0 AF_INET6 fd00::1 peer fd00::2 <IFF_BROADCAST>",
        ),
        (("tun1", 0, MAC, ("tun1", 0, 0, 65534, b""), None, None), "tun1 AF_PACKET - <0>"),
        (("gone", 0, socket.AF_UNSPEC, None, None, None), "gone AF_UNSPEC - <0>"),
    ],
)
def test_records_of_interfaces_that_this_machine_may_not_have(monkeypatch, entry, text):
    name, flags, *rest = entry
    entries = [(name, posix.InterfaceFlag(flags), *rest)]
    monkeypatch.setattr(posix, "getifaddrs", lambda: entries)
    (record,) = net.interfaces()
    assert str(record) == text
    assert record.index == 0


@pytest.mark.parametrize("label", ["lo", "lo:web", "lo5"])
def test_an_address_with_a_label_is_of_its_interface(monkeypatch, label):
    flags = posix.InterfaceFlag.IFF_UP
    entries = [(label, flags, V4, ("127.0.0.9", 0), ("255.0.0.0", 0), ("127.0.0.9", 0))]
    monkeypatch.setattr(posix, "getifaddrs", lambda: entries)
    (record,) = net.interfaces()
    assert (record.name, record.index) == ("lo", socket.if_nametoindex("lo"))


# ---- resolve ----


def test_link_local_addresses_keep_their_scope():
    assert net.resolve("fe80::1%lo").ipv6 == ("fe80::1%lo",)


def test_localhost_is_resolved():
    host = net.resolve("localhost")
    assert "127.0.0.1" in host.ipv4
    assert host.addresses == host.ipv4 + host.ipv6
    assert str(host).endswith(f": {', '.join(host.addresses)}")


def test_numeric_addresses_are_their_own_names():
    assert net.resolve("127.0.0.1") == net.Host("127.0.0.1", (), ("127.0.0.1",), ())
    assert net.resolve("::1") == net.Host("::1", (), (), ("::1",))


def test_everything_that_is_known_of_a_name_is_told(monkeypatch):
    def getaddrinfo(name, port, family, type, protocol, flags):
        found = [
            (socket.AF_INET6, "2001:db8::1"),
            (socket.AF_INET, "192.0.2.1"),
            (socket.AF_INET, "192.0.2.2"),
        ]
        return [(family, type, 6, "www.example", (address, 0)) for family, address in found]

    aliases = ("www.example", ["w.example", "w.example"], ["192.0.2.1"])
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostbyname_ex", lambda name: aliases)
    host = net.resolve("w.example")
    assert host == net.Host(
        "www.example", ("w.example",), ("192.0.2.1", "192.0.2.2"), ("2001:db8::1",)
    )
    assert str(host) == ("www.example (also w.example): 192.0.2.1, 192.0.2.2, 2001:db8::1")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("no such host", socket.gaierror, r"\[Errno -\d\] .*: 'no such host'"),
        ("x" * 64 + ".example", ValueError, "is not the name of a host"),
        ("a\0b", ValueError, "'a\\\\x00b' is not the name of a host"),
        ("", ValueError, "'' is not the name of a host"),
        (None, TypeError, "a name is a str, not None"),
        (b"localhost", TypeError, "a name is a str, not b'localhost'"),
    ],
)
def test_names_that_are_unknown(name, error, message):
    with pytest.raises(error, match=message):
        net.resolve(name)
