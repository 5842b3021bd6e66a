"""What the peers redis and nats share: a publisher of one's own, and clients of the broker's."""

from benchmarks.load import Load
from benchmarks.speaker import Speaker
from benchmarks.wire import Protocol


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
