"""A server against a plain oracle, over random sequences of what programs and peers may do.

    python tests/model.py --seed 1 --count 20 [--steps 400]

The log is tiny, so that it wraps and fills all the time. Every client's oracle is a list per
source (the server's own log, and each channel) of what it must receive. Prints the seed and the
first difference and exits with status 1 where a client has received anything else.
"""

import argparse
import random
import socket
import struct
import sys
import time
from collections import defaultdict

import fastsock.server
from fastsock import Connected, Disconnected, Gap, LogFull, MultiServer

MESSAGE_BYTES_MAX = 1000
CHANNELS = ("a", "b")
WAIT = 20.0
RESET = struct.pack("ii", 1, 0)


class Mismatch(Exception):
    """A client has received what it should not, or not what it should."""


class Peer:
    """One client: its socket, and what it must receive from each source."""

    def __init__(self, server, framing):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.socket.connect(server.address)
        self.socket.setblocking(False)
        self.framing = framing
        self.conn = None
        self.expected = defaultdict(list)
        self.lost = defaultdict(int)
        self.channels = set()
        self.data = bytearray()
        self.stalled = self.ended = self.gone = self.closed_early = False

    def read(self):
        try:
            while part := self.socket.recv(1 << 16):
                self.data += part
            self.ended = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True

    def messages(self):
        """What has come, whole, by source; each message begins with its source's letter."""
        found, data = defaultdict(list), bytes(self.data)
        while data:
            if self.framing == "line":
                message, newline, rest = data.partition(b"\n")
                if not newline:
                    break
            else:
                size = int.from_bytes(data[:4], "big")
                if len(data) < 4 + size:
                    break
                message, rest = data[4 : 4 + size], data[4 + size :]
            found[chr(message[0])].append(message)
            data = rest
        return found


class Model:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.framing = self.random.choice(["line", "length"])
        self.policy = self.random.choice(["disconnect", "drop_oldest", "block"])
        # So small that a turn ends in the middle of messages, which must still go out whole.
        fastsock.server.FLUSH_BYTES = self.random.choice([100, 1500, 1 << 18])
        self.server = MultiServer(
            ("127.0.0.1", 0),
            framing=self.framing,
            slow_policy=self.policy,
            slow_grace=0.0,
            log_bytes=self.random.choice([4096, 16384, 1 << 20]),
            message_bytes_max=MESSAGE_BYTES_MAX,
            outbox_bytes_max=self.random.choice([2000, 100_000]),
            linger=WAIT,
        )
        self.channels = {name: self.server.channel(name) for name in CHANNELS}
        self.peers = []
        self.count = 0

    def __str__(self):
        return f"{self.policy}, {self.framing}"

    # ---- What may happen ----

    def make_message(self, source):
        self.count += 1
        size = self.random.choice([10, 64, 300, 990])
        return (b"%s%d:" % (source.encode(), self.count)).ljust(size, b".")

    def pick(self):
        """A peer that is not known to have ended, or None."""
        alive = [peer for peer in self.peers if not peer.gone]
        return self.random.choice(alive) if alive else None

    def connect(self):
        if len(self.peers) > 12:
            return
        peer = Peer(self.server, self.framing)
        deadline = time.monotonic() + WAIT
        while not peer.conn:
            for event in self.server.poll(timeout=0.1):
                self.note(event)
                if isinstance(event, Connected) and event.conn.peer == peer.socket.getsockname():
                    peer.conn = event.conn
            if time.monotonic() > deadline:
                raise Mismatch("a client is not accepted")
        self.peers.append(peer)

    def publish(self, source):
        excluded = self.pick() if self.random.random() < 0.3 else None
        message = self.make_message(source)
        send = self.server.broadcast if source == "m" else self.channels[source].publish
        try:
            send(message, exclude=excluded.conn if excluded else None, timeout=0)
        except LogFull:
            return
        for peer in self.peers:
            hears = source == "m" or source in peer.channels
            if hears and peer is not excluded and not peer.gone:
                peer.expected[source].append(message)

    def send_one(self):
        peer = self.pick()
        if not peer:
            return
        message = self.make_message("m")
        try:
            queued = peer.conn.send(message, timeout=0)
        except LogFull:
            return
        if queued:
            peer.expected["m"].append(message)
        else:
            peer.gone = True

    def change_subscription(self):
        peer, name = self.pick(), self.random.choice(CHANNELS)
        if not peer:
            return
        if name in peer.channels:
            lives = self.channels[name].unsubscribe(peer.conn)
            peer.channels.remove(name)
        else:
            lives = self.channels[name].subscribe(peer.conn)
            peer.channels.add(name)
        peer.gone = not lives

    def stall(self):
        if peer := self.pick():
            peer.stalled = True

    def resume(self):
        if peer := self.pick():
            peer.stalled = False

    def close_from_here(self):
        if peer := self.pick():
            peer.conn.close()
            peer.gone = peer.closed_early = True

    def close_from_there(self):
        if peer := self.pick():
            if self.random.random() < 0.5:
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.socket.close()
            self.peers.remove(peer)

    def settle(self):
        """A turn of the server, and of every peer that reads."""
        for event in self.server.poll(timeout=0):
            self.note(event)
        for peer in self.peers:
            if not peer.stalled and not peer.ended:
                peer.read()

    def note(self, event):
        for peer in self.peers:
            if peer.conn is not event.conn:
                continue
            if isinstance(event, Gap):
                peer.lost[event.channel or "m"] += event.lost
            elif isinstance(event, Disconnected):
                peer.gone = True

    # ---- The run ----

    def run(self, steps):
        actions = [
            (self.connect, 4),
            (lambda: self.publish("m"), 40),
            (lambda: self.publish("a"), 20),
            (lambda: self.publish("b"), 10),
            (self.send_one, 15),
            (self.change_subscription, 8),
            (self.stall, 4),
            (self.resume, 6),
            (self.close_from_here, 1),
            (self.close_from_there, 1),
            (self.settle, 20),
        ]
        calls, weights = zip(*actions, strict=True)
        try:
            for call in self.random.choices(calls, weights, k=steps):
                call()
            self.finish()
            for peer in self.peers:
                self.check(peer)
        finally:
            for peer in self.peers:
                peer.socket.close()
            self.server.close()

    def finish(self):
        """Everybody reads until all is said."""
        for peer in self.peers:
            peer.stalled = False
            # A window below a segment goes out at the kernel's probes only, a few each second.
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            if not peer.gone:
                peer.conn.close()
        deadline = time.monotonic() + WAIT
        while not all(peer.ended for peer in self.peers):
            self.settle()
            if time.monotonic() > deadline:
                raise Mismatch("a stream does not end")
        for peer in self.peers:
            peer.socket.close()
        while sum(self.server.stats().ended.values()) < self.server.stats().accepted:
            self.settle_events()
            if time.monotonic() > deadline:
                raise Mismatch("a connection does not end")
        self.settle_events()  # what was published to nobody waits for a turn, too
        if self.server.stats().queued_bytes:
            raise Mismatch("bytes are queued for nobody")

    def settle_events(self):
        for event in self.server.poll(timeout=0.01):
            self.note(event)

    def check(self, peer):
        got = peer.messages()
        # The reason of a close stays, also when its rest is cut off for slowness.
        slow = self.policy == "disconnect" and peer.closed_early
        cut_off = slow or peer.conn.reason == "slow consumer"
        for source in {*got, *peer.expected}:
            expected, received = peer.expected[source], got[source]
            where = f"client {peer.conn.number} ({peer.conn.reason}), source {source}, {self}"
            if cut_off:
                # Cut off somewhere; what was dropped before is counted as ever.
                expected = expected[: len(received)] if not peer.lost[source] else received
            if not is_subsequence(received, expected):
                raise Mismatch(f"{where}: {first_difference(received, expected)}")
            lost = len(expected) - len(received)
            if not cut_off and lost != peer.lost[source]:
                raise Mismatch(f"{where}: {lost} lost, {peer.lost[source]} reported")


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(message in rest for message in part)


def first_difference(received, expected):
    for i, (one, other) in enumerate(zip(received, expected, strict=False)):
        if one != other:
            return f"message {i} is {one[:20]!r}, expected {other[:20]!r}"
    return f"{len(received)} messages, expected {len(expected)}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.count):
        try:
            Model(seed).run(options.steps)
        except Mismatch as mismatch:
            print(f"seed {seed}: {mismatch}")
            sys.exit(1)
    print(f"{options.count} seeds from {options.seed}: all as the oracle says")


if __name__ == "__main__":
    main()
