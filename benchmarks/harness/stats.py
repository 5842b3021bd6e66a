"""The few statistics that the benchmarks report."""

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float]) -> float:
    """How far the highest lies above the lowest, as a share of the median."""
    return (max(values) - min(values)) / median(values)


def median_ratio(values: Sequence[float], others: Sequence[float] | None) -> float | None:
    """The median of the ratios of values measured in the same repeat.

    None if there is no other, or one that is 0.
    """
    if not others or 0 in others:
        return None
    return median(value / other for value, other in zip(values, others, strict=True))
