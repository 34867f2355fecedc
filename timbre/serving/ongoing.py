"""An answer while it is written: what its texts come to, piece by piece, until they end, break off or are left."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from timbre.serving.answers import Choice, Form
from timbre.serving.champions import Loaded
from timbre.serving.passage import Piece
from timbre.serving.refusal import Refusal
from timbre.serving.writer import Broken, Ended, Event, Order

Events = asyncio.Queue[tuple[int, Event]]


class Answer:
    """The texts of one request, on the one version that writes all of them."""

    def __init__(self, loaded: Loaded, form: Form, orders: Sequence[Order], events: "Events", deadline: float) -> None:
        self.loaded, self.form, self.orders = loaded, form, orders
        self.choices = [Choice() for order in orders for _ in order.seeds]
        self.known_by: str | None = None
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.broken = False
        self._events, self._deadline = events, deadline
        self._held: tuple[int, Event] | None = None

    def cancel(self) -> None:
        """Nobody listens any more."""
        for order in self.orders:
            order.cancel()

    async def begun(self) -> None:
        """Wait until something is written. Raises: as `pieces`."""
        try:
            self._held = await self._next()
        except BaseException:
            self.cancel()
            raise

    async def pieces(self) -> AsyncGenerator[tuple[int, Event], None]:
        """What is written, as it is written, until every text has ended.

        Raises:
            Refusal: the time is over, or the model could not go on.
        """
        left = len(self.choices)
        try:
            while left:
                number, event = await self._next()
                choice = self.choices[number]
                if isinstance(event, Piece):
                    choice.text += event.text
                    choice.weighed.extend(event.weighed)
                elif isinstance(event, Ended):
                    choice.finish, choice.tokens, left = event.reason, event.tokens, left - 1
                    self.ended_at = asyncio.get_running_loop().time()
                yield number, event
        finally:
            self.cancel()

    async def _next(self) -> tuple[int, Event]:
        """What comes next. Raises: as `pieces`."""
        if self._held is not None:
            held, self._held = self._held, None
            return held
        loop = asyncio.get_running_loop()
        try:
            number, event = await asyncio.wait_for(self._events.get(), max(0.0, self._deadline - loop.time()))
        except TimeoutError:
            raise Refusal(408, "the time for one request is over: ask for fewer tokens or texts", code="timeout") from None
        if isinstance(event, Broken):
            self.broken = True
            raise Refusal(503, event.why, code="writing_failed", headers={"Retry-After": "1"})
        if self.first_at is None:
            self.first_at = loop.time()
        return number, event

    async def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed. Raises: as `pieces`."""
        async with aclosing(self.pieces()) as pieces:
            async for _ in pieces:
                pass
        return self.form.whole(self.choices)

    async def chunks(self, *, counts: bool) -> AsyncGenerator[dict[str, Any], None]:
        """The bodies of a stream. Raises: as `pieces`."""
        for number in range(len(self.choices)):
            if (opening := self.form.first(number)) is not None:
                yield opening
        told = [0] * len(self.choices)
        async with aclosing(self.pieces()) as pieces:
            async for number, event in pieces:
                if isinstance(event, Piece):
                    yield self.form.piece(number, event, told[number])
                    told[number] += len(event.text)
                elif isinstance(event, Ended):
                    yield self.form.last(number, event.reason)
        if counts:
            yield self.form.counts(self.choices)
