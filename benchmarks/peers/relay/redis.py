"""Redis pub/sub: a redis-server of its own."""

from benchmarks import brokers, relaying


def serve() -> None:
    port = brokers.free_port()
    with brokers.running(brokers.redis_command(port), port) as pid:
        relaying.serve(port, relaying.accepted_already, helpers=[pid])
