"""The two ends of one connection: a client, and a server of one client."""

from fastsock.client.client import Client
from fastsock.client.endpoint import Endpoint
from fastsock.client.single import SingleServer

__all__ = ["Client", "Endpoint", "SingleServer"]
