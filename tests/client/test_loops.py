"""Clients and servers in the event loops of others: selectors and asyncio."""

import asyncio
import selectors
import socket
import time

import pytest
from conftest import WAIT, open_descriptors

from fastsock import Client, ConnectionClosed, Message, MessageTooBig, SingleServer

HOME = ("127.0.0.1", 0)
AT_ONCE = 3
"""Messages that the loops below take before others have their turn."""


@pytest.fixture
def plain():
    """A client and the plain socket at its other end."""
    made = []

    def connect(**options):
        with socket.create_server(HOME) as listener:
            client = Client.connect(listener.getsockname(), timeout=WAIT, **options)
            peer, _ = listener.accept()
        made.extend((peer, client))
        return client, peer

    yield connect
    for each in made:
        each.close()


# ---- pending ----


def test_pending_counts_whole_messages_that_were_received(plain):
    client, peer = plain()
    assert client.pending == 0
    peer.sendall(b"one\ntwo\nthree\nfo")
    assert client.recv(timeout=WAIT) == b"one"
    assert client.pending == 2
    assert client.recv_many(10, timeout=0) == [b"two", b"three"]
    assert client.pending == 0  # A part of a message is none.
    with pytest.raises(TimeoutError):
        client.recv(timeout=0)
    peer.sendall(b"ur\nfive\n")
    assert client.recv(timeout=WAIT) == b"four"
    peer.close()
    assert client.pending == 1
    assert client.recv(timeout=0) == b"five"
    assert client.pending == 0
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=WAIT)
    client.close()
    assert client.pending == 0


def test_what_pending_counts_needs_neither_the_kernel_nor_waiting(plain):
    """The socket is not readable any more: a loop that waits for it would wait forever."""
    client, peer = plain(framing="length")
    peer.sendall(b"\0\0\0\1a\0\0\0\0\0\0\0\2bc")
    assert client.recv(timeout=WAIT) == b"a"
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        assert selector.select(0) == [] and client.pending == 2
    assert [client.recv(timeout=0), client.recv(timeout=0)] == [b"", b"bc"]


def test_a_refused_message_is_pending_until_it_was_refused(plain):
    client, peer = plain(message_bytes_max=4)
    peer.sendall(b"ok\ntoo long\n")
    assert client.recv(timeout=WAIT) == b"ok"
    assert client.pending == 1
    with pytest.raises(MessageTooBig):
        client.recv(timeout=0)


def test_pending_of_raw_framing_counts_pieces(plain):
    client, peer = plain(framing="raw", message_bytes_max=4)
    peer.sendall(b"0123456789")
    assert client.recv(timeout=WAIT) == b"0123"
    assert client.pending == 2


def test_pending_of_a_client_that_was_never_opened_is_none():
    assert Client.__new__(Client).pending == 0


# ---- Clients in loops ----

LINES = [b"line %d" % number for number in range(20)]
SEGMENTS = [b"".join(line + b"\n" for line in LINES[:7]), b"line 7\nli", b"ne 8\n"]
SEGMENTS.append(b"".join(line + b"\n" for line in LINES[9:]))


def test_the_loop_of_the_readme_with_selectors(plain):
    client, peer = plain()
    heard = []
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        rest = list(SEGMENTS)
        while True:
            if not client.pending:
                if rest:
                    peer.sendall(rest.pop(0))
                elif len(heard) == len(LINES):
                    peer.close()
                assert selector.select(WAIT)
            try:
                heard += client.recv_many(AT_ONCE, timeout=0)
            except TimeoutError:
                continue
            except ConnectionClosed:
                break
    assert heard == LINES


def test_the_loop_of_the_readme_with_asyncio(plain):
    client, peer = plain()

    async def main():
        loop, heard = asyncio.get_running_loop(), []
        done = loop.create_future()

        def on_readable():
            try:
                heard.extend(client.recv_many(AT_ONCE, timeout=0))
            except TimeoutError:
                return
            except ConnectionClosed:
                loop.remove_reader(client.fileno())
                done.set_result(None)
                return
            if client.pending:
                loop.call_soon(on_readable)

        loop.add_reader(client.fileno(), on_readable)
        for segment in SEGMENTS:
            peer.sendall(segment)
            await asyncio.sleep(0)
        peer.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(done, WAIT)
        await asyncio.to_thread(client.close)
        return heard

    assert asyncio.run(main()) == LINES


# ---- Closing in loops ----


async def read_and_leave(peer):
    """What a peer that the loop itself drives is sent until the end; then it closes, too."""
    loop, said = asyncio.get_running_loop(), b""
    peer.setblocking(False)
    while part := await loop.sock_recv(peer, 100):
        said += part
    peer.close()
    return said


def test_an_awaited_close_of_a_server_holds_no_loop_and_loses_nothing(serve, dial):
    """The close waits for the peer, and the peer for the loop."""
    server = serve(linger=WAIT)
    peer = dial(server)

    async def main():
        loop, heard = asyncio.get_running_loop(), []
        ready = loop.create_future()

        def on_ready():
            for event in server.poll(timeout=0):
                if isinstance(event, Message):
                    heard.append(event.data)
                    ready.set_result(None)

        loop.add_reader(server.fileno(), on_ready)
        on_ready()
        peer.sendall(b"hello\n")
        await asyncio.wait_for(ready, WAIT)
        server.broadcast(b"the last words")
        loop.remove_reader(server.fileno())
        closing = loop.create_task(asyncio.to_thread(server.close))
        said = await read_and_leave(peer)
        await asyncio.wait_for(closing, WAIT / 2)
        return heard, said

    before = open_descriptors()
    assert asyncio.run(main()) == ([b"hello"], b"the last words\n")
    assert server.fileno() == -1
    assert len(open_descriptors()) < len(before)
    kinds = [type(event).__name__ for event in server]
    assert kinds == ["Disconnected"]


def test_a_close_without_linger_does_not_wait(serve, dial):
    server = serve(linger=WAIT)
    peers = [dial(server) for _ in range(3)]
    server.wait_connections(3, timeout=WAIT)

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(server.fileno(), lambda: server.poll(timeout=0))
        loop.remove_reader(server.fileno())
        begun = time.monotonic()
        server.close(linger=0)
        return time.monotonic() - begun

    assert asyncio.run(main()) < WAIT / 2
    assert [peer.recv(1) for peer in peers] == [b""] * 3


@pytest.mark.parametrize("which", ["client", "server"])
def test_an_awaited_close_of_one_connection_holds_no_loop(which, plain):
    """The close waits for the peer, and the peer for the loop."""

    async def main(closed, peer):
        closing = asyncio.ensure_future(asyncio.to_thread(closed.close))
        said = await read_and_leave(peer)
        await asyncio.wait_for(closing, WAIT / 2)
        return said

    if which == "client":
        client, peer = plain(linger=WAIT)
        client.send(b"bye")
        assert asyncio.run(main(client, peer)) == b"bye\n"
        return
    with SingleServer(HOME, linger=WAIT) as server:
        peer = socket.create_connection(server.address, timeout=WAIT)
        server.accept(timeout=WAIT).send(b"bye")
        assert asyncio.run(main(server, peer)) == b"bye\n"
