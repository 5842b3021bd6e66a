"""``python -m fastsock.rpc``."""

from fastsock.rpc_script import main

if __name__ == "__main__":
    main()
