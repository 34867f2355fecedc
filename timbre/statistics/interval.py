"""An interval, and the checks that every bound makes of its input."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its one-sided bounds. `low` and `high` are infinite where nothing can be said (a single cluster)."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


def finite(values: "Sequence[float] | Floats", what: str) -> "Floats":
    """The values as an array.

    Raises:
        ValueError: empty, not a list of numbers, or a value that is not finite; the sentence names the index.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{what}: expected a non-empty list of numbers, got shape {array.shape}")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{what}[{wrong[0]}] is {array[wrong[0]]}, not a number; evidence with holes is not evidence")
    return array


def cluster_index(clusters: Sequence[Hashable] | None, n: int) -> "tuple[NDArray[np.int64], int]":
    """Numbers 0…G−1 of the clusters of n items, and G; without clusters each item is its own."""
    import numpy as np

    if clusters is None:
        return np.arange(n), n
    if len(clusters) != n:
        raise ValueError(f"clusters has {len(clusters)} entries for {n} items")
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[cluster] for cluster in clusters], dtype=np.int64), len(numbers)
