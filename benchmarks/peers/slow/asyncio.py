"""asyncio as in the fan-out; a transport that is above its mark for a second is aborted.

asyncio leaves what to do with a slow client to the program. This does what fastsock does by itself:
the publisher waits, and ends who has not read for as long as slow_grace.
"""

import asyncio
from collections.abc import Callable

from benchmarks.ends import publisher
from benchmarks.peers.fanout import asyncio as fanout

GRACE_S = 1.0


class Server(fanout.Server):
    async def wait_flowing(self) -> None:
        try:
            await asyncio.wait_for(self.flowing.wait(), GRACE_S)
        except TimeoutError:
            self.abort_paused()

    def abort_paused(self) -> None:
        """All others have long been taken below their marks."""
        for transport in self.transports:
            if transport.get_write_buffer_size() > 0:
                transport.abort()
        self.transports = [each for each in self.transports if not each.is_closing()]
        self.paused = 0
        self.flowing.set()


def serve(
    policy: str, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> None:
    publisher.serve(Server(new_loop()))
