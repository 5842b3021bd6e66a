"""A server for the demonstration that loses and spoils: argument 1 says what, 2 for how many.

It speaks as fastsock.chat.demo.servers does: the port, and at last the time when it began.
"""

import socket
import sys
import time

FAULTS = {
    "message": lambda text: text.partition(b"\n")[2],
    "byte": lambda text: text[1:],
    "order": lambda text: b"".join(reversed(text.splitlines(keepends=True))),
    "twice": lambda text: text + text,
    "all": lambda text: b"",
}


def main() -> None:
    text = sys.stdin.buffer.read()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        clients = [listener.accept()[0] for _ in range(int(sys.argv[2]))]
    begun = time.monotonic()
    for number, client in enumerate(clients):
        client.sendall(text if number else FAULTS[sys.argv[1]](text))
        client.close()
    print(begun, flush=True)


if __name__ == "__main__":
    main()
