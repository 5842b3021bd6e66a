"""The two ends of one connection: a client, and a server of one client."""

from fastsock._lazy import importer, names_of

# For type checkers, __init__.pyi says the same.
_HOMES = {
    "fastsock.client.client": "Client",
    "fastsock.client.endpoint": "Endpoint",
    "fastsock.client.single": "SingleServer",
}

__all__ = names_of(_HOMES)

__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
