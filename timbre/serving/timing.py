"""How fast a text comes: its tokens counted and timed while somebody reads the pieces."""

import time
from collections.abc import Iterator
from typing import Any

from timbre.serving.engine import Engine


class Timed:
    """One text of an engine, written while it is iterated over; afterwards its figures.

    The clock starts when the first piece is asked for: opening the engine is counted by whoever opens it.
    """

    def __init__(self, engine: Engine, prompt: str, **options: Any) -> None:
        """Arguments as `Engine.stream`, and its errors: at once, not at the first piece."""
        self._pieces = engine.stream(prompt, watch=self._drawn, **options)
        self._start = self._first = self._last = 0.0
        self.tokens = 0
        """Drawn, without the end token."""

    def __iter__(self) -> Iterator[str]:
        self._start = self._first = self._last = time.perf_counter()
        yield from self._pieces

    def _drawn(self, _: int) -> None:
        self._last = time.perf_counter()
        self._first = self._last if not self.tokens else self._first
        self.tokens += 1

    @property
    def first_token_ms(self) -> float:
        """From the prompt to the first token drawn; 0 where there was none."""
        return round(1000 * (self._first - self._start), 1)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens after the first a second; None where there were none."""
        return round((self.tokens - 1) / (self._last - self._first), 1) if self.tokens > 1 and self._last > self._first else None

    def figures(self) -> dict[str, float | int | None]:
        """For programs."""
        return {"tokens": self.tokens, "first_token_ms": self.first_token_ms, "tokens_per_second": self.tokens_per_second}

    def sentence(self) -> str:
        """For people: "96 tokens, 41.2 a second, the first after 63 ms"."""
        speed = f", {self.tokens_per_second:.1f} a second" if self.tokens_per_second is not None else ""
        first = f", the first after {self.first_token_ms:.0f} ms" if self.tokens else ""
        return f"{self.tokens} token{'' if self.tokens == 1 else 's'}{speed}{first}"
