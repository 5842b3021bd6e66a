"""Benchmarks: `python -m benchmarks.<scenario>` from the root of the repository."""
