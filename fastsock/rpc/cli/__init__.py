"""The command line ``fastsock-rpc``."""
