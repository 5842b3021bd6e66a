"""Prints a free port, as algorithm 11-1 of the lecture: bind to port 0, and ask which it is."""

import socket

import fastsock
from fastsock import posix


def main() -> None:
    fd = posix.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        posix.bind(fd, ("0.0.0.0", 0))
        _, port = posix.getsockname(fd)
    finally:
        posix.close(fd)
    print("assigned port number:", port)
    print("the same in one call:", fastsock.free_port())


if __name__ == "__main__":
    main()
