"""``python -m fastsock.rpc``."""

from fastsock._scripts import rpc

if __name__ == "__main__":
    rpc()
