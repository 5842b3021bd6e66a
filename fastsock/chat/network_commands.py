"""What a program asks about the network around it: the lecture's algorithm 11-1, and getifaddrs."""

import json
import socket
from dataclasses import asdict

import click

from fastsock import Interface, net
from fastsock._cli import shown

__all__ = ["interfaces", "port"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.option("--host", default="", help="A local address; by default all of them.")
@click.option("--udp", is_flag=True, help="For UDP, not TCP.")
@click.option("--ipv6", is_flag=True, help="For IPv6; by default what HOST is, else IPv4.")
@json_option
def port(host: str, udp: bool, ipv6: bool, as_json: bool) -> None:
    """Print a port that nothing uses now.

    Another program may take it before it is used: a server that listens on port 0 is surer.
    """
    family = socket.AF_INET6 if ipv6 else socket.AF_UNSPEC
    try:
        found = net.free_port(host, family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    told = {"host": host, "port": found, "protocol": "udp" if udp else "tcp"}
    print(json.dumps(told) if as_json else found)


@click.command()
@json_option
def interfaces(as_json: bool) -> None:
    """Print each address of each network interface."""
    found = net.interfaces()
    if as_json:
        print(json.dumps([_plain(interface) for interface in found], indent=2))
        return
    for interface in found:
        print(shown(str(interface)))


def _plain(interface: Interface) -> dict[str, object]:
    """The record with names instead of numbers for its flags and its family."""
    names = str(interface.flags).split("|") if interface.flags else []
    return asdict(interface) | {"flags": names, "family": interface.family.name}
