"""How long a run may take: when its time is spent it stops where it can go on, before a stage or behind a checkpoint.

    TIMBRE_BUDGET_MINUTES=90 timbre run …

The moment stands in `TIMBRE_DEADLINE`, so that every process of the run, whoever started it, stops by the same clock.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEADLINE = "TIMBRE_DEADLINE"


class BudgetSpent(ValueError):
    """The time of this run is over; what was finished is kept."""


@contextmanager
def budget(minutes: float | None) -> Iterator[None]:
    """Give what runs in here and in its child processes so many minutes; None, or inside another budget: nothing changes."""
    if minutes is None or DEADLINE in os.environ:
        yield
        return
    os.environ[DEADLINE] = repr(time.time() + 60 * minutes)
    try:
        yield
    finally:
        del os.environ[DEADLINE]


def check(what: str, before: Callable[[], None] = lambda: None) -> None:
    """Go on, or stop here.

    Args:
        what: where the run stops, for the sentence: "before the stage target".
        before: what is to be done before it stops.

    Raises:
        BudgetSpent: the time is over.
    """
    deadline = os.environ.get(DEADLINE)
    if deadline is not None and time.time() >= float(deadline):
        before()
        raise BudgetSpent(
            f"the budget of this run is spent: it stops {what}. Finished stages are stored, and training has its checkpoint: "
            "the same command with another TIMBRE_BUDGET_MINUTES goes on there"
        )
