"""The two ends of one connection: a client, and a server of one client."""

from fastsock.client.client import Client as Client
from fastsock.client.endpoint import Endpoint as Endpoint
from fastsock.client.single import SingleServer as SingleServer
