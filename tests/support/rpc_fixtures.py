"""Fixtures of the RPC tests: servers and stubs that the test's end closes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from rpc_shop import Shop

from fastsock import rpc


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Closes what is entered, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(closing: ExitStack) -> Callable[..., rpc.Server]:
    """Serves a service, by default a Shop, on a free port; its ``service`` is the object."""

    def make(service: object = None, address: object = ("127.0.0.1", 0), **options) -> rpc.Server:
        options.setdefault("linger", 0.3)
        service = Shop() if service is None else service
        server = closing.enter_context(rpc.serve(service, address, **options))
        if isinstance(service, Shop):
            closing.callback(service.gate.set)
        server.service = service
        return server

    return make


@pytest.fixture
def stub(closing: ExitStack) -> Callable[..., Shop]:
    """Connects a stub, by default of Shop, to a server or to an address."""

    def make(server: object, interface: type = Shop, **options):
        address = getattr(server, "address", server)
        made = rpc.connect(interface, address, **options)
        closing.callback(rpc.close, made)
        return made

    return make
