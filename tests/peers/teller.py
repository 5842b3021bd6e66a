"""A server that tells its name, and the matchmaker about itself: teller.py NAME PORT [ADDRESS...].
PORT is the matchmaker's; each ADDRESS a port of 127.0.0.1 or a path. SIGTERM makes it drain and
end."""

import signal
import sys
import threading

from fastsock import rpc


class Teller(rpc.Service):
    """Says which server it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gate = threading.Event()

    @rpc.method
    def who(self) -> str:
        return self.name

    @rpc.method(idempotent=True)
    def who_again(self) -> str:
        """May be called again."""
        return self.name

    @rpc.method
    def wait(self) -> str:
        """Until the gate is open, or the call is cancelled."""
        while not self.gate.is_set() and not rpc.current().wait_cancelled(0.01):
            pass
        return self.name


def main(name: str, port: str, *listed: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    addresses = [each if "/" in each else ("127.0.0.1", int(each)) for each in listed or ("0",)]
    with rpc.serve(Teller(name), addresses, matchmaker=("127.0.0.1", int(port))) as server:
        print("ready", server.address, flush=True)
        signal.sigwait({signal.SIGTERM})
        server.drain(10)
    print("threads", threading.active_count(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
