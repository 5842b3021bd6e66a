"""A plain server for one client that sends and receives at the same time, with two processes.

It prints its port; what is typed goes to the client, and what that says is printed.
"""

import os
import signal
import socket
import sys

from records import RECORD_BYTES, ends, say


def send_all(client: socket.socket) -> bytes:
    """Sends what is typed but for the line that ends it all, which it returns."""
    for line in sys.stdin.buffer:
        if ends(line):
            return line
        client.sendall(line)
    return b""


def receive_all(client: socket.socket) -> None:
    while text := client.recv(RECORD_BYTES - 1):
        say("client", text)
        if ends(text):
            return


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        client, _ = listener.accept()
    sender = os.getpid()
    receiver = os.fork()
    if receiver == 0:
        receive_all(client)
        os.kill(sender, signal.SIGKILL)
        os._exit(0)
    last = send_all(client)
    os.kill(receiver, signal.SIGKILL)
    os.waitpid(receiver, 0)
    client.sendall(last)  # Nobody is left to take the client's leaving for a reason to kill.


if __name__ == "__main__":
    main()
