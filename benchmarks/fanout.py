"""One server sends every message to many clients: `python -m benchmarks.fanout --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import sys

from benchmarks.fanout_latency import Latency
from benchmarks.fanout_throughput import Throughput


def main(argv: list[str] | None = None) -> int:
    """The scenario that the mode asks for."""
    throughput = Throughput()
    latency = throughput.parse(argv).mode == "latency"
    return Latency().main(argv) if latency else throughput.main(argv)


if __name__ == "__main__":
    sys.exit(main())
