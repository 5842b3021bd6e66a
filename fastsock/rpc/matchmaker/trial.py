"""Whether a server answers where it says that it is: what a matchmaker tries before it tells.

A trial is a challenge (handshake.py) and its answer: no session begins at the server. It proves
that the server has the incarnation that it is registered under and, if the matchmaker has a token,
that it knows that token and believes itself to be at that address.
"""

import asyncio
import socket
import struct
from collections import OrderedDict
from contextlib import suppress

from fastsock.core.address import of_internet
from fastsock.core.lookup import look_up_async
from fastsock.rpc import wire
from fastsock.rpc.client.greeting import names_of, read_proof
from fastsock.rpc.errors import RpcError
from fastsock.rpc.matchmaker.places import is_here
from fastsock.rpc.matchmaker.registry import Instance, Location
from fastsock.rpc.wire.handshake import Challenger

__all__ = ["Trials"]

TRIAL_SECONDS = 1.0
"""How long a server may take to accept and to answer."""

TRIALS_MAX = 256
"""Trials under way. One more ends the oldest: that of an address that says nothing."""

PROOF_BYTES_MAX = 4096

_LENGTH = struct.Struct(">I")


async def _open_connection(
    address: tuple[str, int],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to the first address of the host that answers. Unlike asyncio's own, it needs no
    thread of the executor, which silent names would take from each other for long."""
    failure: OSError = ConnectionRefusedError()
    for family, sockaddr in of_internet(await look_up_async(*address)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, sockaddr)
            return await asyncio.open_connection(sock=sock)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


class Trials:
    """Tries locations, all of an instance at once. For one event loop."""

    def __init__(self) -> None:
        self.token = ""
        self._running: OrderedDict[asyncio.Task[bool], None] = OrderedDict()

    async def usable(self, instance: Instance) -> list[Location]:
        """Those of its locations that clients can be told: where it answers, and those that lead
        nowhere from here, of which only clients at that place can know. Empty if it answers at
        none of those that can be tried."""
        tried = [each for each in instance.locations if not each.place or is_here(each)]
        answers = await asyncio.gather(*(self._start(each, instance) for each in tried))
        good = {each for each, answer in zip(tried, answers, strict=True) if answer}
        if tried and not good:
            return []
        return [each for each in instance.locations if each in good or each not in tried]

    async def _start(self, location: Location, instance: Instance) -> bool:
        if len(self._running) >= TRIALS_MAX:
            oldest, _ = self._running.popitem(last=False)
            oldest.cancel()
        task = asyncio.ensure_future(self._try(location, instance))
        self._running[task] = None
        try:
            return await task
        except asyncio.CancelledError:
            if not task.cancelled():  # It is this registration that nobody waits for any more.
                task.cancel()
                raise
            return False
        finally:
            self._running.pop(task, None)

    async def _try(self, location: Location, instance: Instance) -> bool:
        try:
            async with asyncio.timeout(TRIAL_SECONDS):
                return await self._ask(location, instance)
        except (OSError, ValueError, RpcError, asyncio.IncompleteReadError):
            return False  # TimeoutError is an OSError.

    async def _ask(self, location: Location, instance: Instance) -> bool:
        address = location.address
        if isinstance(address, str):
            path = "\0" + address[1:] if address.startswith("@") else address
            reader, writer = await asyncio.open_unix_connection(path)
        else:
            reader, writer = await _open_connection(address)
        try:
            names = names_of(address, writer.get_extra_info("peername"))
            challenger = Challenger(self.token, instance.service, instance.version, names)
            frame = wire.frame(wire.CHALLENGE, payload=wire.encode(challenger.challenge))
            writer.write(_LENGTH.pack(len(frame)) + frame)
            (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            if size > PROOF_BYTES_MAX:
                return False
            proof = read_proof(await reader.readexactly(size), "the server")
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        if self.token:
            challenger.check(proof)
        wanted = instance.service, instance.version, instance.incarnation
        return (proof.service, proof.version, proof.incarnation.hex()) == wanted
