"""A broker of another project, which relays by itself."""

from benchmarks.ends import relaying
from benchmarks.harness import brokers


def serve(broker: str) -> None:
    with brokers.started(broker) as (port, pid):
        relaying.serve(port, relaying.accepted_already, helpers=[pid])
