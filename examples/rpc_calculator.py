"""A calculator that other processes call: python examples/rpc_calculator.py [PORT]"""

import sys
from collections.abc import Iterator
from contextlib import suppress

from fastsock import rpc


class Calculator(rpc.Service):
    """Adds, divides and finds primes."""

    @rpc.method(inline=True)  # short, and never waits: it needs no thread of the pool
    def add(self, a: float, b: float) -> float:
        """The sum of a and b."""
        return a + b

    @rpc.method(raises=[ZeroDivisionError])
    def divide(self, a: float, b: float) -> float:
        """a divided by b. ZeroDivisionError reaches the caller as itself."""
        return a / b

    @rpc.method
    def primes(self, below: int) -> Iterator[int]:
        """Streams the primes below a number, as fast as the caller takes them."""
        for number in range(2, below):
            if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
                yield number


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7000
    with rpc.serve(Calculator(), ("127.0.0.1", port)) as server, suppress(KeyboardInterrupt):
        print("serving at", *server.address, flush=True)
        server.wait()


if __name__ == "__main__":
    main()
