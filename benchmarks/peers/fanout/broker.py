"""A broker of another project: one pipelining publisher, and clients of the broker's."""

from benchmarks.ends import publisher
from benchmarks.ends.speaker import Speaker
from benchmarks.harness import brokers
from benchmarks.harness.load import Load
from benchmarks.harness.wire import Protocol


class Server:
    def __init__(self, port: int, protocol: Protocol) -> None:
        self.port = port
        self.protocol = protocol

    def accept(self, count: int) -> None:
        """Nothing to do: the broker has answered each client's subscription (csrc/sink.c)."""

    def burst(self, load: Load) -> None:
        speaker = Speaker(self.port, self.protocol, load.size)
        speaker.say(load)
        speaker.close()


def serve(*_: str, broker: str) -> None:
    """Publish through a broker. Options of a scenario are not told it: it keeps its own limits."""
    with brokers.started(broker) as (port, pid):
        publisher.serve(Server(port, brokers.PROTOCOLS[broker]), helpers=[pid])
