"""NATS: a nats-server of its own."""

from benchmarks import brokers, relaying


def serve() -> None:
    port = brokers.free_port()
    with brokers.running(brokers.nats_command(port), port) as pid:
        relaying.serve(port, relaying.accepted_already, helpers=[pid])
