"""Iterative refinement: the stretches of a draft that are furthest from the style are written anew, many ways, and the best is kept.

    refined = Refiner(engine, critic).refine("It was", steps=8, max_new_tokens=120, seed=1)
    refined.text, refined.draft, refined.score <= refined.draft_score

A step takes the stretch without which the passage would be nearest to the style, has the model write it `WAYS` times from what stands
before it, puts what stood after it behind each, and keeps the passage that scores best. A stretch must lead into what follows: ways
after which the model finds the next tokens much less likely than they were are not looked at. It ends when no stretch of the text as
it stands can be bettered, or with the step budget.

The score is the passage's distance from the style (`timbre.metrics.critic`), and a passage only ever takes the place of one with a
larger distance: the result is never worse than its draft by that score. Whether it is better by another is a matter of measurement:
`python -m benchmarks.refinement`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from timbre.config import SamplerConfig
from timbre.export.session import Logits
from timbre.inference.arrays import log_softmax
from timbre.inference.sampling import draw, process, sample
from timbre.inference.watermark import Marking, Watermark
from timbre.serving.engine import Engine
from timbre.serving.limits import MOST_STEPS
from timbre.serving.passage import Finish

if TYPE_CHECKING:
    from timbre.serving.runtimes import Rows

WAYS = 8
"""How many ways a stretch is written anew."""
STRETCH, STRIDE, JOIN = 24, 12, 8
"""Tokens of a stretch, between the beginnings of two, and behind it by which its end is judged."""
SLACK = 0.5
"""Nats a token by which those behind a new stretch may be less likely than behind the old one."""
_PREFILL = 256


class Critic(Protocol):
    """Tells how far texts are from a style."""

    def distances(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Of each text; smaller is nearer."""
        ...


@dataclass(frozen=True)
class Step:
    """A stretch that was written anew."""

    start: int
    """Its first token, counted from the beginning of the text."""
    kept: bool
    score: float
    """Of the passage afterwards."""


@dataclass(frozen=True)
class Refined:
    """A text and the draft it came from."""

    draft: str
    text: str
    token_ids: tuple[int, ...]
    draft_score: float
    score: float
    finish: Finish
    """"stop" if the draft ended itself, else "length"."""
    steps: tuple[Step, ...] = field(default=())
    read: int = 0
    """Tokens that the model read or wrote for it, the draft's among them."""


class Refiner:
    """An engine that writes, and a critic that judges. Keeps nothing between texts."""

    def __init__(self, engine: Engine, critic: Critic, mark: Watermark | None = None) -> None:
        self._engine, self._critic, self._mark = engine, critic, mark
        self._vocabulary = engine.facts.vocab_size
        self._ends = np.array(engine.facts.eos_token_ids, np.int64)

    def refine(
        self, prompt: str | Sequence[int], *, steps: int, max_new_tokens: int = 128, sampler: SamplerConfig | None = None,
        seed: "int | Sequence[int]" = 0, going: Callable[[], bool] = lambda: True,
    ) -> Refined:  # fmt: skip
        """Write a draft and better it in at most `steps` steps; 0 gives the draft.

        Args:
            prompt: a text, or its tokens.
            sampler: how draft and stretches are drawn; None: as the version was judged.
            going: asked before each step; where it says no, the text is given back as it is.

        Raises:
            ValueError: the sampler is greedy, so that there is one way to write a stretch; counts out of range; a prompt too long.
        """
        sampler = sampler or self._engine.facts.sampler
        if sampler.temperature == 0 and steps:
            raise ValueError("greedy text (temperature 0) cannot be refined: there is one way to write each stretch")
        if not 0 <= steps <= MOST_STEPS or max_new_tokens < 1:
            raise ValueError(f"refining takes 0 to {MOST_STEPS} steps of texts of 1 token or more, got {steps} and {max_new_tokens}")
        ids = self._engine.prompt_ids(prompt) if isinstance(prompt, str) else self._engine.checked(prompt)
        work = _Work(self, ids, sampler, np.random.default_rng(seed))
        text, finish = work.draft(min(max_new_tokens, self._engine.facts.context - len(ids)))
        draft, score = text, work.score([text])[0]
        draft_score, tried, done = score, set[int](), list[Step]()
        while len(done) < steps and score > 0 and going() and (start := work.furthest(text, tried)) is not None:
            better, found = work.rewritten(text, start, score)
            kept = bool(found < score)
            if kept:  # what was tried before was tried beside other words
                text, score, tried = better, found, set()
            else:
                tried.add(start)
            done.append(Step(start, kept, round(float(score), 6)))
        return Refined(
            work.decoded(draft), work.decoded(text), tuple(text), float(draft_score), float(score), finish, tuple(done), work.read
        )  # fmt: skip


class _Work:
    """One text at work."""

    def __init__(self, refiner: Refiner, ids: list[int], sampler: SamplerConfig, random: np.random.Generator) -> None:
        self._of, self._ids, self._sampler, self._random = refiner, ids, sampler, random
        self._decoder, self._tokenizer = refiner._engine.decoder, refiner._engine.tokenizer
        self.read = 0

    def decoded(self, text: Sequence[int]) -> str:
        """As it stands behind the prompt."""
        before = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        return self._tokenizer.decode([*self._ids, *text], skip_special_tokens=True)[len(before) :].rstrip("�")

    def score(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        return self._of._critic.distances([self.decoded(text) for text in texts])

    def draft(self, length: int) -> tuple[list[int], Finish]:
        """Tokens, and why they end."""
        logits, rows = self._begun(self._ids, 1)
        marking, text = self._markings([], 1), list[int]()
        for left in range(length, 0, -1):
            token = int(self._drawn(logits, marking, ends=True)[0])
            if token in self._of._ends:
                return text, "stop"
            text.append(token)
            if left > 1:
                logits = self._step(rows, np.array([token], np.int64))
        return text, "length"

    def furthest(self, text: list[int], tried: set[int]) -> int | None:
        """Where the stretch begins without which the passage is nearest to the style, of those not tried; None: all were."""
        starts = [start for start in range(0, max(len(text) - STRETCH // 2, 1), STRIDE) if start not in tried]
        if not starts:
            return None
        left = self.score([[*text[:start], *text[start + STRETCH :]] for start in starts])
        return starts[int(left.argmin())]

    def rewritten(self, text: list[int], start: int, score: float) -> tuple[list[int], float]:
        """The best passage with this stretch written anew, and its score; the text itself where none leads into what follows."""
        before, old, behind = text[:start], text[start : start + STRETCH], text[start + STRETCH :]
        logits, rows = self._begun([*self._ids, *before], WAYS + 1)  # the last row is the text as it stands
        markings, columns = self._markings(before, WAYS), list[npt.NDArray[np.int64]]()
        last = -1
        for token in old:
            if columns:
                logits = self._step(rows, np.append(columns[-1], last))
            columns.append(self._drawn(logits[:WAYS], markings, ends=False))
            last = token
        ways = [list(map(int, row)) for row in np.stack(columns, 1)]
        likely, fed = np.zeros(WAYS + 1), np.append(columns[-1], last)
        for token in behind[:JOIN]:
            found = log_softmax(self._step(rows, fed)[:, : self._of._vocabulary])
            likely, fed = likely + found[:, token], np.full(WAYS + 1, token, np.int64)
        floor = likely[WAYS] - SLACK * len(behind[:JOIN])
        passages = [[*before, *way, *behind] for way, found in zip(ways, likely[:WAYS], strict=True) if found >= floor]
        if not passages:
            return text, score
        scores = self.score(passages)
        best = int(scores.argmin())
        return passages[best], float(scores[best])

    def _begun(self, ids: Sequence[int], texts: int) -> "tuple[Logits, Rows]":
        """So many texts that have these tokens; logits of what follows, [texts, V]."""
        cache, rows = self._decoder.empty_cache(1), self._decoder.rows()
        for place in range(0, len(ids), _PREFILL):
            found, cache = self._decoder.read(np.array([ids[place : place + _PREFILL]], np.int64), cache)
        self.read += len(ids)
        for _ in range(texts):
            rows.join(cache)
        return np.repeat(found, texts, 0), rows

    def _step(self, rows: "Rows", tokens_B: npt.NDArray[np.int64]) -> Logits:
        self.read += len(tokens_B)
        return rows.step(tokens_B)

    def _drawn(self, logits_BV: Logits, markings: "list[Marking] | None", *, ends: bool) -> npt.NDArray[np.int64]:
        """The next token of each row; end tokens only in a draft."""
        logits_BV = logits_BV[:, : self._of._vocabulary].copy()
        logits_BV[:, self._of._engine.unused] = -np.inf
        if not ends:
            logits_BV[:, self._of._ends] = -np.inf
        uniform_B = self._random.random(len(logits_BV))
        if markings is None or self._sampler.temperature == 0:
            return np.asarray(sample(logits_BV, uniform_B, self._sampler), np.int64)
        processed_BV = process(logits_BV, self._sampler)
        marked_BV = np.stack([marking.marked(row_V) for marking, row_V in zip(markings, processed_BV, strict=True)])
        tokens_B = np.asarray(draw(marked_BV, uniform_B), np.int64)
        for marking, token in zip(markings, tokens_B, strict=True):
            marking.push(int(token))
        return tokens_B

    def _markings(self, before: Sequence[int], rows: int) -> "list[Marking] | None":
        """The state of the mark of so many texts that have these tokens already."""
        if self._of._mark is None:
            return None
        markings = [self._of._mark.begin() for _ in range(rows)]
        for marking in markings:
            for token in before:
                marking.push(token)
        return markings
