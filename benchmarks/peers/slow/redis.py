"""As in the fan-out, with the limits that the server has by itself."""

from benchmarks.peers.fanout import redis


def serve(policy: str) -> None:
    redis.serve()
