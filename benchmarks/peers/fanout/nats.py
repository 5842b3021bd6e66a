"""NATS: one pipelining publisher beside a nats-server of its own."""

from benchmarks import brokers, publisher
from benchmarks.peers.fanout.broker import Server
from benchmarks.wire import NATS


def serve() -> None:
    port = brokers.free_port()
    with brokers.running(brokers.nats_command(port), port) as pid:
        publisher.serve(Server(port, NATS), helpers=[pid])
