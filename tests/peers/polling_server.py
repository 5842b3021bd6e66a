"""A server that forks for each client, and whose children look for news once a second.

Argument 1 is a FIFO for records: ``@N text`` goes, as it is, to client N, other text to all. The
main process, which the clients' pipes are known to, hands the records out; the children end when it
does. It prints its port.
"""

import os
import select
import socket
import sys
import time
from contextlib import suppress

from records import RECORD_BYTES, say, text_of


def receive_and_send(number: int, client: socket.socket, news: int, parent: int) -> None:
    """The child's work: it never looks whether the client is still there."""
    client.setblocking(False)
    os.set_blocking(news, False)
    while os.getppid() == parent:
        with suppress(BlockingIOError, ConnectionError):
            if text := client.recv(RECORD_BYTES - 1):
                say(f"connection {number}", text)
        with suppress(BlockingIOError, ConnectionError):
            client.send(text_of(os.read(news, RECORD_BYTES)))
        time.sleep(1)


def accept(listener: socket.socket, number: int) -> int:
    """Forks for the next client; returns the pipe to the child."""
    client, _ = listener.accept()
    parent = os.getpid()
    news, pipe = os.pipe()
    if os.fork() == 0:
        receive_and_send(number, client, news, parent)
        os._exit(0)
    client.close()
    os.close(news)
    say("server", b"new connection %d\n" % number)
    return pipe


def hand_out(record: bytes, pipes: list[int]) -> None:
    text = text_of(record)
    if text.startswith(b"@"):
        pipes = [pipes[int(text[1:].split()[0]) - 1]]
    for pipe in pipes:
        os.write(pipe, record)


def main() -> None:
    fifo = os.open(sys.argv[1], os.O_RDWR)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    pipes: list[int] = []
    while True:
        ready, _, _ = select.select([listener, fifo], [], [])
        if listener in ready:
            pipes.append(accept(listener, len(pipes) + 1))
        if fifo in ready:
            hand_out(os.read(fifo, RECORD_BYTES), pipes)


if __name__ == "__main__":
    main()
