"""Writes typed lines into a FIFO for another program, as algorithm 11-3 of the lecture does.

python input_terminal.py PATH: makes the FIFO if it is missing; waits where nobody reads it.
"""

import sys

from fastsock.fifo import FifoWriter


def main() -> None:
    with FifoWriter(sys.argv[1], on_wait=lambda: print("waiting for a reader")) as fifo:
        for line in sys.stdin.buffer:
            fifo.write(line.rstrip(b"\n"))


if __name__ == "__main__":
    main()
