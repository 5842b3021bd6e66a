"""Servers of many clients: the engine's Python half."""

from fastsock.server.multi import MultiServer

__all__ = ["MultiServer"]
