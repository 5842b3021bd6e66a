"""Both sides of the RPC protocol without fastsock.rpc, written after docs/architecture/rpc.md.

A client that says whatever a test wants, a server that lies, and a proxy between the real ones."""

import secrets
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec
from conftest import WAIT, read_exactly, wait_until

HELLO, REFUSED, CALL, REPLY, ERROR, ITEM, END, CHUNK = range(1, 9)
CANCEL, CREDIT, ACK, PING, PONG, DRAIN, BYE = range(9, 16)
MORE, SEGMENTS, METADATA = 1, 2, 4

HEADER = struct.Struct(">BBHIQQ")
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


def frame(kind, call=0, payload=b"", *, flags=0, method=0, amount=0, remaining=0):
    """A frame with its length before it."""
    data = HEADER.pack(kind, flags, method, amount, call, remaining) + payload
    return struct.pack(">I", len(data)) + data


class Frame:
    """A frame that has arrived."""

    def __init__(self, data):
        self.kind, self.flags, self.method, self.amount, self.call, self.remaining = (
            HEADER.unpack_from(data)
        )
        self.payload = data[HEADER.size :]

    @property
    def value(self):
        return unpack(self.payload)


class Peer:
    """One end of a connection, which reads and writes frames."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(WAIT)

    def say(self, *frames):
        self.sock.sendall(b"".join(frames))

    def hear(self):
        """The next frame; None at the end of the stream."""
        try:
            head = read_exactly(self.sock, 4)
            return Frame(read_exactly(self.sock, struct.unpack(">I", head)[0])) if head else None
        except ConnectionResetError:
            return None

    def hear_answer(self, call):
        """The next frame of that call; others are passed over."""
        while (heard := self.hear()) is not None:
            if heard.call == call:
                return heard
        raise AssertionError(f"the connection ended before an answer to {call}")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RawClient(Peer):
    """A client whose hello is right unless the test changes it."""

    def __init__(self, address, *, greet=True, **changes):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family)
        sock.settimeout(WAIT)
        sock.connect(address)
        super().__init__(sock)
        self.session = changes.get("session", secrets.token_bytes(16))
        self.hello = None
        if greet:
            self.say(frame(HELLO, payload=self.hello_payload(**changes)))
            self.hello = self.hear()
            if self.hello is not None and self.hello.kind == HELLO:
                self.methods = self.hello.value[-1]

    def hello_payload(self, **changes):
        fields = {
            "protocol": 1,
            "service": "",
            "version": "",
            "session": self.session,
            "resume": False,
            "proof": b"",
            "metadata": {},
        }
        return pack(list((fields | changes).values()))

    def call(self, number, name, *args, **header):
        self.say(self.call_frame(number, name, *args, **header))

    def call_frame(self, number, name, *args, **header):
        return frame(CALL, number, pack(args), method=self.methods[name][0], **header)

    def result(self, number):
        """The result of a call, which must be one."""
        answer = self.hear_answer(number)
        assert answer.kind == REPLY, answer.value
        return answer.value


class LyingServer:
    """Listens; ``script(peer, turn)`` talks to each client in a thread, turn counts them from 0."""

    def __init__(self, script: Callable[[Peer, int], object]) -> None:
        self.script = script
        self.turns = 0
        self.peers: list[Peer] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self.peers.append(peer)
            self.threads.append(threading.Thread(target=self.talk, args=(peer, self.turns)))
            self.turns += 1
            self.threads[-1].start()

    def talk(self, peer, turn):
        try:
            self.script(peer, turn)
        except OSError:
            pass  # The client has gone, or the test is over.
        finally:
            hang_up(peer.sock)
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        hang_up(self.listener)
        self.threads[0].join(WAIT)
        for peer in self.peers:
            hang_up(peer.sock)
        for thread in self.threads:
            thread.join(WAIT)
        self.listener.close()


def hang_up(sock):
    """Ends both directions; whoever waits in another thread sees it."""
    with suppress(OSError):  # It has ended before.
        sock.shutdown(socket.SHUT_RDWR)


def server_hello(infos, *, incarnation=b"i" * 16, resumed=False, service="Shop", **changes):
    """What a server says to a stub; infos: {method: [number, digest, signature]}."""
    fields = {
        "protocol": 1,
        "service": service,
        "version": "1",
        "incarnation": incarnation,
        "resumed": resumed,
        "highest": 0,
        "incomplete": [],
        "calls_max": 64,
        "body_bytes_max": 1 << 20,
        "methods": infos,
    }
    return frame(HELLO, payload=pack(list((fields | changes).values())))


class Pair:
    """A connection through the proxy: the client's socket, and ours to the server."""

    def __init__(self, client, server):
        self.client = client
        self.server = server
        self.pumps = 2
        self.lock = threading.Lock()

    def cut(self):
        hang_up(self.client)
        hang_up(self.server)

    def leave(self):
        """A pump ends, so the other one does; the last one closes, which resets what is unread."""
        self.cut()
        with self.lock:
            self.pumps -= 1
        if not self.pumps:
            self.client.close()
            self.server.close()


class Proxy:
    """Passes bytes between clients and a server. ``up`` and ``down`` see what goes to the server
    and to the client, ``up(pair, data)``, and return what is passed on; None cuts the connection.
    """

    def __init__(self, target, *, up=None, down=None):
        self.target = target
        self.up = up or (lambda pair, data: data)
        self.down = down or (lambda pair, data: data)
        self.pairs: list[Pair] = []
        self.threads: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.start(self.accept)

    def start(self, work, *args):
        thread = threading.Thread(target=work, args=args)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            pair = Pair(client, server)
            self.pairs.append(pair)
            self.start(self.pump, pair, client, server, "up")
            self.start(self.pump, pair, server, client, "down")

    def pump(self, pair, source, sink, direction):
        try:
            while data := source.recv(1 << 16):
                data = getattr(self, direction)(pair, data)
                if data is None:
                    break
                sink.sendall(data)
        except OSError:
            pass  # One of both has gone: so does the other.
        finally:
            pair.leave()

    def cut(self):
        """Ends all connections; new ones are taken."""
        for pair in self.pairs:
            pair.cut()

    def wait_connections(self, count):
        wait_until(lambda: len(self.pairs) >= count, f"{count} connections through the proxy")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        hang_up(self.listener)
        self.threads[0].join(WAIT)
        self.cut()
        for thread in self.threads:
            thread.join(WAIT)
        self.listener.close()


def colliding_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of integers whose tuples have one hash: that of a tuple has no secret."""
    odd, other, start = 11400714785074694791, 14029467366897019727, 2870177450012600261
    mask, inverse = (1 << 64) - 1, pow(14029467366897019727, -1, 1 << 64)
    made: list[tuple[int, int]] = []
    first = 1 << 32
    while len(made) < count:
        first += 1
        summed = start + first * other & mask
        turned = (summed << 31 | summed >> 33) * odd & mask
        second = (12345 - turned) * inverse & mask
        if second < (1 << 61) - 1:
            made.append((first, second))
    return made
