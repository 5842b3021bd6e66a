"""A server is closed while its clients talk: what they have said is handled, or counted."""

import threading

import pytest
from conftest import WAIT, wait_until

from fastsock import Client, Connected, ConnectionClosed, Disconnected, Message, MultiServer

COUNT = 20_000
FEW = 1000  # which a kernel keeps while nobody reads
LINE = b"x" * 100


@pytest.fixture(params=["line", "length"])
def framing(request):
    return request.param


@pytest.fixture
def dial(framing):
    clients = []

    def make(server):
        # Nobody may be there yet to take what a client says before it closes.
        clients.append(Client.connect(server.address, framing=framing, linger=0.01, timeout=WAIT))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def say(client, count=COUNT):
    for number in range(count):
        client.send(b"%d " % number + LINE)


def is_whole(said):
    return said == [b"%d " % number + LINE for number in range(len(said))]


def test_what_was_said_before_a_close_is_handled(framing, dial):
    said = []
    with MultiServer(("127.0.0.1", 0), framing=framing) as server:
        server.on_message(lambda conn, data: said.append(data))
        server.start()
        client = dial(server)
        say(client)
        # It hears that the server has closed, and closes, too.
        ending = threading.Thread(target=lambda: ([*client], client.close()))
        ending.start()
        server.close(linger=WAIT)
        ending.join(WAIT)
    assert (len(said), is_whole(said)) == (COUNT, True)
    assert server.stats().bytes_unheard == 0


def test_a_close_in_a_handler_handles_what_was_said(framing, dial):
    said = []
    with MultiServer(("127.0.0.1", 0), framing=framing) as server:

        @server.on_message
        def hear(conn, data):
            said.append(data)
            server.close()

        server.start()
        client = dial(server)
        say(client)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)
        client.close()
        wait_until(lambda: len(said) == COUNT, "all is handled")
    assert is_whole(said)


def test_a_loop_goes_on_after_a_close_that_does_not_wait(framing, dial):
    server = MultiServer(("127.0.0.1", 0), framing=framing)
    client = dial(server)
    say(client, FEW)
    client.close()
    server.close(wait=False)
    events = [*server]
    assert [type(event) for event in events[:2]] == [Connected, Message]
    assert isinstance(events[-1], Disconnected)
    said = [event.data for event in events[1:-1]]
    assert (len(said), is_whole(said)) == (FEW, True)
    assert server.stats().bytes_unheard == 0


def test_callers_in_the_backlog_are_heard(framing, dial):
    said = []
    server = MultiServer(("127.0.0.1", 0), framing=framing)
    for number in range(20):
        client = dial(server)
        client.send(b"%d" % number)
        client.close()
    server.close(wait=False)
    server.on_message(lambda conn, data: said.append(data))
    server.serve_forever()
    assert sorted(said, key=int) == [b"%d" % number for number in range(20)]


def test_what_nobody_is_there_to_hear_is_counted(framing, dial):
    with MultiServer(("127.0.0.1", 0), framing=framing) as server:
        client = dial(server)
        server.wait_connections(1, timeout=WAIT)
        client.send(b"hello")
        framed = 6 if framing == "line" else 9
        server.close(linger=0)
        assert server.stats().bytes_unheard == framed


def test_handle_input_false_throws_it_away(framing, dial):
    said = []
    with MultiServer(("127.0.0.1", 0), framing=framing) as server:
        server.on_message(lambda conn, data: said.append(data))
        in_handler, go_on = threading.Event(), threading.Event()

        @server.on_connect
        def wait(conn):
            in_handler.set()
            go_on.wait(WAIT)

        server.start()
        client = dial(server)
        assert in_handler.wait(WAIT)
        client.send(b"hello")
        client.close()
        closing = threading.Thread(target=server.close, kwargs={"handle_input": False})
        closing.start()
        wait_until(lambda: server.stats().ended, "the connection has ended")
        go_on.set()
        closing.join(WAIT)
        assert server.stats().bytes_unheard > 0
    assert said == []


def test_who_goes_on_talking_is_cut_off_in_time(framing, dial):
    said = []
    with MultiServer(("127.0.0.1", 0), framing=framing) as server:
        server.on_message(lambda conn, data: said.append(data))
        server.start()
        client = dial(server)
        client.send(b"hello")
        wait_until(lambda: said, "the first is handled")

        def talk():
            with pytest.raises(ConnectionClosed):
                while True:
                    client.send(LINE, timeout=WAIT)

        talking = threading.Thread(target=talk)
        talking.start()
        server.close(linger=0.1)
        talking.join(WAIT)
        assert not talking.is_alive()
