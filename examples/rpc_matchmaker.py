"""Two servers with one name, and a client that does not know their addresses.

fastsock-rpc matchmaker &
python examples/rpc_matchmaker.py [PORT OF THE MATCHMAKER]
"""

import sys

from rpc_calculator import Calculator

from fastsock import rpc
from fastsock.rpc.matchmaker.service import DEFAULT_PORT


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PORT
    matchmaker = "127.0.0.1", port
    with (
        rpc.serve(Calculator(), matchmaker=matchmaker) as first,
        rpc.serve(Calculator(), matchmaker=matchmaker) as second,
        rpc.connect(Calculator, matchmaker=matchmaker) as calculator,
    ):
        print("two servers, and 1 + 2 =", calculator.add(1, 2))
        first.drain(timeout=5)
        print("one of them drains, and 2 + 3 =", calculator.add(2, 3))
        second.drain(timeout=5)
        try:
            calculator.add(3, 4)
        except rpc.Unavailable as error:
            print("both drain:", error)


if __name__ == "__main__":
    main()
