"""A client that is fed through a FIFO, with two processes: arguments are the FIFO and the port."""

import os
import signal
import socket
import sys

from records import RECORD_BYTES, ends, say, text_of


def send_all(fifo: int, server: socket.socket) -> None:
    while record := os.read(fifo, RECORD_BYTES):
        server.sendall(text_of(record))
        if ends(record):
            return


def receive_all(server: socket.socket) -> None:
    while text := server.recv(RECORD_BYTES - 1):
        say("server", text)
        if ends(text):
            return


def main() -> None:
    fifo = os.open(sys.argv[1], os.O_RDONLY)
    server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    sender = os.getpid()
    receiver = os.fork()
    if receiver == 0:
        receive_all(server)
        os.kill(sender, signal.SIGKILL)
        os._exit(0)
    send_all(fifo, server)
    os.kill(receiver, signal.SIGKILL)
    os.waitpid(receiver, 0)


if __name__ == "__main__":
    main()
