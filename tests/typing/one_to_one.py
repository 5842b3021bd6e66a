"""What a type checker has to know of one-to-one connections."""

from typing import assert_type

from fastsock import Client, Endpoint, SingleServer

with SingleServer(("127.0.0.1", 0), queue=True, framing="length") as server:
    assert_type(server, SingleServer)
    assert_type(server.address, tuple[str, int] | str)
    conn = server.accept(timeout=1)
    assert_type(conn, Endpoint)
    assert_type(conn.peer, tuple[str, int] | str)
    assert_type(conn.closed, bool)
    assert_type(conn.recv(timeout=0.5), bytes)
    assert_type(list(conn), list[bytes])

with Client.connect("/tmp/socket") as client:
    assert_type(client, Client)
    assert_type(client.reconnect(), Client)
    end: Endpoint = client

SingleServer(9000)  # type: ignore[arg-type]
SingleServer(("127.0.0.1", 0), framing="text")  # type: ignore[arg-type]
conn.send("text")  # type: ignore[arg-type]
server.accept(1)  # type: ignore[call-arg]
