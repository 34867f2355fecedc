"""Telling a person, and whoever else listens, how far a stage is."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[str, int, int], None]


class Progress:
    """Reports (what, done, total) as a bar on stderr with an estimate, and to an optional listener.

    Off a terminal a bar is one line at most every ten seconds, so that logs stay readable.
    """

    def __init__(self, listener: Listener | None = None, *, visible: bool = True) -> None:
        self._listener = listener
        self._visible = visible

    def track(self, items: Iterable[Item], what: str, total: int | None = None, initial: int = 0) -> Iterator[Item]:
        """Yield `items` while showing progress; `initial` counts what an earlier, interrupted run has done."""
        from tqdm import tqdm

        total = total if total is not None else initial + len(items)  # type: ignore[arg-type]
        terminal = sys.stderr.isatty()
        bar = tqdm(
            desc=what,
            total=total,
            initial=initial,
            disable=not self._visible,
            file=sys.stderr,
            leave=terminal,
            mininterval=0.2 if terminal else 10.0,
            dynamic_ncols=True,
        )
        with bar:
            for done, item in enumerate(items, start=initial + 1):
                yield item
                bar.update(1)
                if self._listener is not None:
                    self._listener(what, done, total)


SILENT = Progress(visible=False)
