"""The bar: csrc/limit.c, which relays without Python and without telling messages apart."""

from benchmarks.peers.fanout.limit import serve

__all__ = ["serve"]
