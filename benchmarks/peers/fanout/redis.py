"""Redis pub/sub: one pipelining publisher beside a redis-server of its own."""

from benchmarks import brokers, publisher
from benchmarks.peers.fanout.broker import Server
from benchmarks.wire import RESP


def serve() -> None:
    port = brokers.free_port()
    with brokers.running(brokers.redis_command(port), port) as pid:
        publisher.serve(Server(port, RESP), helpers=[pid])
