"""Continuous batching: one thread that writes all texts of one version, each a row that joins and leaves when it likes.

A text depends on its prompt, its sampler and its seed. It does not depend on the texts beside it (`timbre.export.slots`), so
it is the text that `Engine.stream` and the command write, to the numerical noise of their other way of keeping the cache.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timbre.config import SamplerConfig
from timbre.export.session import Decoder, Logits
from timbre.export.slots import stride
from timbre.inference.sampling import draw, process, sample
from timbre.inference.spans import LONGEST, Spans
from timbre.inference.steering import Steering, blended, steer
from timbre.inference.watermark import Marking, Watermark
from timbre.serving.beside import Beside
from timbre.serving.passage import Finish, Passage, Piece
from timbre.serving.prefixes import Prefixes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from timbre.serving.runtimes import Runtime

PREFILL = 64
"""Prompt tokens a call: bounds the logits of a long prompt, and how long the rows beside it wait; pieces of this length are kept."""
_log = logging.getLogger(__name__)


class Busy(Exception):
    """The queue is full. `retry_after` says in how many seconds it may be worth asking again."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} texts are waiting already: ask again in {retry_after} s")
        self.retry_after = retry_after


class Closed(Exception):
    """This writer takes on nothing more; another one has its place."""


@dataclass(frozen=True)
class Ended:
    """A text is whole."""

    reason: Finish
    tokens: int


@dataclass(frozen=True)
class Broken:
    """A text could not be finished; the sentence says why."""

    why: str


Event = Piece | Ended | Broken
Sink = Callable[[int, Event], None]
"""Called from the writer's thread with the number of the text within its order. Must not block."""


@dataclass(eq=False)
class Order:
    """Texts that continue one prompt, one a seed."""

    prompt_ids: Sequence[int]
    max_tokens: int
    sampler: SamplerConfig
    seeds: Sequence[Sequence[int]]
    sink: Sink
    stops: Sequence[str] = ()
    top: int | None = None
    mark: Watermark | None = None
    steering: Steering | None = None
    base: Decoder | None = None
    """The model that `steering` mixes in; None where nothing is mixed."""
    blend: "Sequence[tuple[Runtime, float]]" = ()
    """Other styles with their shares; the writer's own decoder has the rest."""
    spans: tuple[Spans, int] | None = None
    """The training text, and the length of a run of its tokens that is not written out."""
    at: float = field(default_factory=time.monotonic)
    began: float | None = None
    cancelled: bool = False

    @property
    def others(self) -> "list[Runtime]":
        """The models that read its texts beside the writer's own."""
        return [*([] if self.base is None else [self.base]), *(decoder for decoder, _ in self.blend)]

    def cancel(self) -> None:
        """Nobody listens any more: its rows leave before the next step."""
        self.cancelled = True


@dataclass(eq=False)
class _Row:
    order: Order
    number: int
    passage: Passage
    random: np.random.Generator
    marking: Marking | None = None
    token: int = 0
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=LONGEST))
    """The last tokens of prompt and text."""


@dataclass(eq=False)
class _Prompt:
    """A prompt that is being read, a piece between two steps of the rows."""

    order: Order
    cache: Any
    """Of the runtime that reads it."""
    beside: "dict[Runtime, Any]"
    """Of the models that are mixed in."""
    read: int = 0


@dataclass(frozen=True)
class Bounds:
    """How much a writer takes on at once."""

    rows: int = 16
    """Texts that are written at once."""
    waiting: int = 64
    """Texts that wait for a row."""
    cache_bytes: int = 2 << 30
    """Memory of keys and values; one text is always taken on."""
    prefix_bytes: int = 256 << 20
    """Memory of beginnings of prompts that are kept (`timbre.serving.prefixes`)."""


class Writer:
    """The rows of one decoder, its queue, and the thread that writes them."""

    def __init__(
        self,
        decoder: "Runtime",
        tokenizer: "Tokenizer",
        *,
        vocab_size: int,
        unused: NDArray[np.int64],
        eos: Sequence[int],
        bounds: Bounds,
        name: str = "writer",
    ) -> None:
        self._decoder, self._tokenizer, self._vocab, self._unused = decoder, tokenizer, vocab_size, unused
        self._eos, self._bounds = frozenset(eos), bounds
        self._slots = decoder.rows()
        self._beside: dict[Runtime, Beside] = {}
        self.prefixes = Prefixes(decoder, PREFILL, bounds.prefix_bytes) if isinstance(decoder, Decoder) else None
        self._rows: list[_Row] = []
        self._queue: deque[Order] = deque()
        self._reading: _Prompt | None = None
        self._news = threading.Condition()
        self._closing = False
        self._pace = 0.1  # seconds a step, smoothed
        self.steps = 0
        self.drawn = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Texts that are being written."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        with self._news:
            return self._waiting()

    @property
    def cache_bytes(self) -> int:
        return self._slots.nbytes + sum(beside.nbytes for beside in list(self._beside.values()))

    @property
    def pace(self) -> float:
        """Seconds a step, of late."""
        return self._pace

    def submit(self, *orders: Order) -> None:
        """Take on all of these orders, or none.

        Raises:
            Busy: too many texts wait.
            Closed: the writer was closed.
        """
        wanted = sum(len(order.seeds) for order in orders)
        with self._news:
            if self._closing:
                raise Closed
            waiting = self._waiting()
            if waiting and waiting + wanted > self._bounds.waiting:
                ahead = sum(order.max_tokens * len(order.seeds) for order in self._queue)
                raise Busy(waiting, max(1, min(60, round(ahead * self._pace / self._bounds.rows))))
            self._queue.extend(orders)
            self._news.notify()

    def close(self, *, wait: bool = True) -> None:
        """Take on nothing more, and end when everything that was taken on is written."""
        with self._news:
            self._closing = True
            self._news.notify()
        if wait:
            self._thread.join()

    def _waiting(self) -> int:
        reading = len(self._reading.order.seeds) if self._reading is not None else 0
        return reading + sum(len(order.seeds) for order in self._queue)

    def _run(self) -> None:
        while self._wait():
            try:
                self._drop_cancelled()
                self._read()
                self._step()
            except Exception as error:
                self._break(error)
        self._slots, self._beside = self._decoder.rows(), {}

    def _wait(self) -> bool:
        """Until there is something to do; False at the end."""
        with self._news:
            while not (self._rows or self._queue or self._reading):
                if self._closing:
                    return False
                self._news.wait()
            return True

    def _drop_cancelled(self) -> None:
        for number in range(len(self._rows) - 1, -1, -1):
            if self._rows[number].order.cancelled:
                self._leave(number)
        if self._reading is not None and self._reading.order.cancelled:
            self._reading = None
        with self._news:
            if any(order.cancelled for order in self._queue):
                self._queue = deque(order for order in self._queue if not order.cancelled)

    def _read(self) -> None:
        """Read a piece of the next prompt, if its texts will have room."""
        if self._reading is None:
            with self._news:
                if not self._queue or not self._has_room(self._queue[0]):
                    return
                order = self._queue.popleft()
                beside = {decoder: decoder.empty_cache(1) for decoder in order.others}
                kept = self.prefixes.longest(order.prompt_ids) if self.prefixes and not beside else None  # the others have to read it
                self._reading = _Prompt(order, kept or self._decoder.empty_cache(1), beside, 0 if kept is None else kept.length)
        prompt, order = self._reading, self._reading.order
        part = np.array([order.prompt_ids[prompt.read : prompt.read + PREFILL]], np.int64)
        logits, prompt.cache = self._decoder.read(part, prompt.cache)
        if self.prefixes is not None:
            self.prefixes.keep(order.prompt_ids, prompt.cache)
        others: dict[Runtime, Logits] = {}
        for decoder, cache in prompt.beside.items():
            found, prompt.beside[decoder] = decoder.read(part, cache)
            others[decoder] = found[0]
        prompt.read += PREFILL
        if prompt.read >= len(order.prompt_ids):
            self._begin(prompt, logits[0], others)
            self._reading = None

    def _has_room(self, order: Order) -> bool:
        if not self._rows:
            return True
        rows = len(self._rows) + len(order.seeds)
        longest = max(len(one.prompt_ids) + one.max_tokens for one in (order, *(row.order for row in self._rows)))
        mixed = max(sum(decoder.token_bytes for decoder in one.others) for one in (order, *(row.order for row in self._rows)))
        held = 2 * rows * stride(longest + 1) * (self._decoder.token_bytes + mixed)
        return rows <= self._bounds.rows and held <= self._bounds.cache_bytes

    def _begin(self, prompt: _Prompt, logits_V: Logits, others: "dict[Runtime, Logits]") -> None:
        order = prompt.order
        order.began = time.monotonic()
        for number, seed in enumerate(order.seeds):
            passage = Passage(self._tokenizer, order.prompt_ids, order.stops, order.top)
            marking = order.mark.begin() if order.mark is not None else None
            row = _Row(order, number, passage, np.random.default_rng(list(seed)), marking)
            row.recent.extend(order.prompt_ids[-LONGEST:])
            if self._draw(row, logits_V, others):
                self._slots.join(prompt.cache)
                for decoder, cache in prompt.beside.items():
                    self._beside.setdefault(decoder, Beside(decoder)).join(row, cache)
                self._rows.append(row)

    def _step(self) -> None:
        if not self._rows:
            return
        began = time.monotonic()
        logits_BV = self._slots.step(np.array([row.token for row in self._rows], np.int64))
        tokens: dict[Hashable, int] = {row: row.token for row in self._rows}
        beside = {decoder: other.step(tokens) for decoder, other in self._beside.items()}
        going = [
            self._draw(row, logits_V, {decoder: beside[decoder][row] for decoder in row.order.others})
            for row, logits_V in zip(self._rows, logits_BV, strict=True)
        ]
        for number in range(len(going) - 1, -1, -1):
            if not going[number]:
                self._leave(number)
        self.steps += 1
        self._pace += 0.1 * (time.monotonic() - began - self._pace)

    def _leave(self, number: int) -> None:
        self._slots.leave(number)
        row = self._rows[number]
        for decoder in row.order.others:
            beside = self._beside[decoder]
            beside.leave(row)
            if not beside.rows:
                del self._beside[decoder]
        self._rows[number] = self._rows[-1]
        self._rows.pop()

    def _draw(self, row: _Row, logits_V: Logits, others: "dict[Runtime, Logits]") -> bool:
        """Draw the row's next token and tell of it; whether the text goes on."""
        logits_V = logits_V[: self._vocab]
        logits_V[self._unused] = -np.inf
        try:
            row.token = _chosen(row, logits_V[None], {decoder: found_V[None, : self._vocab] for decoder, found_V in others.items()})
        except FloatingPointError as error:
            self._tell(row, Broken(str(error)))
            return False
        self.drawn += 1
        row.recent.append(row.token)
        if row.token in self._eos:
            return self._end(row, "stop")
        piece, stopped = row.passage.push(row.token, logits_V)
        if piece is not None:
            self._tell(row, piece)
        if stopped:
            self._tell(row, Ended("stop", row.passage.tokens))
            return False
        return row.passage.tokens < row.order.max_tokens or self._end(row, "length")

    def _end(self, row: _Row, reason: Finish) -> bool:
        piece, stopped = row.passage.end()
        if piece is not None:
            self._tell(row, piece)
        self._tell(row, Ended("stop" if stopped else reason, row.passage.tokens))
        return False

    def _tell(self, row: _Row, event: Event) -> None:
        if not row.order.cancelled:
            row.order.sink(row.number, event)

    def _break(self, error: Exception) -> None:
        """What ONNX Runtime cannot do is told to those it concerns, and the next texts begin with an empty batch."""
        _log.error("a step failed: %s", type(error).__name__, exc_info=error)
        broken = Broken("the model could not go on with this text: ask again")
        concerned = {(row.order, row.number) for row in self._rows}
        if self._reading is not None:
            concerned |= {(self._reading.order, number) for number in range(len(self._reading.order.seeds))}
        self._rows, self._reading, self._slots, self._beside = [], None, self._decoder.rows(), {}
        for order, number in concerned:
            if not order.cancelled:
                order.sink(number, broken)


def _chosen(row: _Row, logits_1V: Logits, others: "dict[Runtime, Logits]") -> int:
    """The row's next token, drawn with its own next random number."""
    order = row.order
    uniform_1, sampler = row.random.random(1), order.sampler
    if order.spans is not None:
        logits_1V = order.spans[0].without(logits_1V, list(row.recent), order.spans[1])
    if order.blend:
        shares = [share for _, share in order.blend]
        logits_1V = blended([logits_1V, *(others[decoder] for decoder, _ in order.blend)], [1 - sum(shares), *shares])
    if order.base is not None and order.steering is not None:
        logits_1V = steer(logits_1V, others[order.base], order.steering)
    if row.marking is None:
        return int(sample(logits_1V, uniform_1, sampler)[0])
    token = int(draw(row.marking.marked(process(logits_1V, sampler)[0])[None], uniform_1)[0])
    row.marking.push(token)
    return token
