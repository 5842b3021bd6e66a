"""As in the fan-out, with the limits that the server has by itself."""

from benchmarks.peers.fanout import nats


def serve(policy: str) -> None:
    nats.serve()
