"""MMD² between two sets of feature vectors: are they drawn from one distribution?"""

import numpy as np


class KernelDistance:
    """MMD² (Gretton et al. 2012, eq. 3) of any two disjoint subsets of a pool: unbiased U-statistic, Gaussian kernel.

    The bandwidth is the median distance between *human* vectors and is frozen with the reference: a bandwidth that
    followed the candidate would let a strange candidate widen the ruler it is measured with. The statistic is 0 on
    average for two samples of one distribution, and may be slightly negative.
    """

    def __init__(self, features_NF: np.ndarray, bandwidth: float) -> None:
        self._kernel_NN = np.exp(-squared_distances(features_NF) / (2 * bandwidth**2))

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """None if a side has fewer than two vectors."""
        if min(len(first), len(second)) < 2:
            return None
        across = self._kernel_NN[np.ix_(first, second)].mean()
        return float(self._within(first) + self._within(second) - 2 * across)

    def _within(self, subset: np.ndarray) -> float:
        block = self._kernel_NN[np.ix_(subset, subset)]
        return float((block.sum() - np.trace(block)) / (len(subset) * (len(subset) - 1)))


def squared_distances(features_NF: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between all rows, float64, exactly 0 on the diagonal."""
    wide = np.asarray(features_NF, np.float64)
    wide = wide - wide.mean(0)  # distances stay, rounding shrinks
    norm_N = np.einsum("nf,nf->n", wide, wide)
    distance_NN = np.maximum(norm_N[:, None] + norm_N[None, :] - 2 * wide @ wide.T, 0.0)
    np.fill_diagonal(distance_NN, 0.0)
    result: np.ndarray = distance_NN
    return result


def median_bandwidth(human_NF: np.ndarray) -> float:
    """Median distance between different human vectors; 1 where they are all the same."""
    upper = np.sqrt(squared_distances(human_NF)[np.triu_indices(len(human_NF), 1)])
    median = float(np.median(upper)) if len(upper) else 0.0
    return median or 1.0
