"""One page of saved results: `python -m benchmarks.dashboard`."""
