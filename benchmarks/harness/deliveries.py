"""What a run gave in which messages go to many clients, and how it is shown."""

from dataclasses import dataclass
from typing import Any, Self

from benchmarks.harness import table
from benchmarks.harness.errors import BenchmarkError

FIGURES = (
    "deliveries_per_s",
    "seconds",
    "messages",
    "server_cpu_s",
    "us_per_delivery",
    "sink_cpu_share",
)
COLUMNS = (
    table.per_second("deliveries\n/s", "deliveries_per_s"),
    table.share("spread", "spread"),
    table.number("µs per\ndelivery", "us_per_delivery"),
    table.number("x limit", "of_limit"),
    table.number("x asyncio", "of_asyncio"),
    table.SINK,
    table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
)


@dataclass(frozen=True)
class Deliveries:
    """What one run of one peer gave; seconds last until the last byte reached the last client."""

    messages: int
    deliveries: float
    seconds: float
    server_cpu_s: float
    sink_cpu_s: float
    lost: int
    corrupt: int

    @property
    def deliveries_per_s(self) -> float:
        return self.deliveries / self.seconds

    @property
    def us_per_delivery(self) -> float:
        return self.server_cpu_s * 1e6 / self.deliveries

    @property
    def sink_cpu_share(self) -> float:
        return self.sink_cpu_s / self.seconds

    @classmethod
    def of(cls, sent: dict[str, Any], took: dict[str, Any], frame_len: int, cpu_s: float) -> Self:
        """From the answers of who published and of the sink; BenchmarkError if nothing came."""
        if not took["bytes"]:
            raise BenchmarkError(f"nothing of {sent['messages']} messages arrived")
        return cls(
            messages=sent["messages"],
            deliveries=took["bytes"] / frame_len,
            seconds=took["last_s"] - sent["started_s"],
            server_cpu_s=cpu_s,
            sink_cpu_s=took["cpu_s"],
            lost=took["lost"],
            corrupt=took["corrupt"],
        )
