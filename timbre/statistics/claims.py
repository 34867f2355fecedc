"""Which of several improvements may be claimed: Holm's step-down procedure, told by bounds instead of p-values.

A release needs no such correction: all of its gates must pass, and an intersection–union test keeps its level by itself
(Berger 1982). Claims are the other way round: any one of them may be said, so chance has as many tries as there are
differences that might have been claimed. That family is fixed before the figures are seen; what cannot be claimed any more
stays in it, with a bound of −∞.
"""

from collections.abc import Callable, Mapping


def superiority_claims(lower_bound: Mapping[str, Callable[[float], float]], level: float = 0.05) -> list[str]:
    """The differences that are above zero with a family-wise error of at most `level`, whatever their dependence (Holm 1979).

    Step by step all that are left are tested at level/(number left); those that pass are claimed, and the rest gets another
    try at the level that has become larger. This is Holm's order of p-values, as long as a bound falls when its confidence
    rises.

    Args:
        lower_bound: the whole family: name -> lower one-sided bound of its difference as a function of the confidence.

    Raises:
        ValueError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the family-wise error is between 0 and 1, got {level}")
    left, claimed = dict(lower_bound), list[str]()
    while left:
        confidence = 1 - level / len(left)
        passed = [name for name, bound in left.items() if bound(confidence) > 0]
        if not passed:
            break
        claimed += passed
        for name in passed:
            del left[name]
    return sorted(claimed)
