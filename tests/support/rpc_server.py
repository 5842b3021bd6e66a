"""A server of Shop in a process of its own: python rpc_server.py [PORT]. It prints its port and
ends with its stdin."""

import sys

from rpc_shop import Shop

from fastsock import rpc

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with rpc.serve(Shop(), ("127.0.0.1", port), linger=0.3) as server:
        print(server.address[1], flush=True)
        sys.stdin.read()
