"""What ends a benchmark or a part of it, told in one line."""


class BenchmarkError(Exception):
    """A run that could not be made; the message is for the person who started it."""


class Unavailable(BenchmarkError):
    """A peer that cannot take part here: its package is missing, or it does not know the mode."""
