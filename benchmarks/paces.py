"""A bundle whose pace is measured: texts of a length from one prompt, by the writer that serves, timed by the clock and by CPU."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.rivals import Pace
from timbre.artifacts import Artifact, canonical_json, write_atomically
from timbre.export.session import Decoder
from timbre.inference.sampling import Controls
from timbre.inference.steering import Steering
from timbre.inference.watermark import Watermark
from timbre.serving.engine import Engine
from timbre.serving.passage import Piece
from timbre.serving.writer import Bounds, Ended, Event, Order, Writer

PROMPT_TOKENS = 64
PROMPT = (
    "It was a bright, cold morning in the harbour, and the men who had come down to the quay before it was light stood with their hands in "
    "their coats, waiting for the boat. Nobody spoke. The old captain looked at the sky, then at the water, and shook his head slowly, as "
    "though somebody had asked him a question that he had heard too often, and to which he had never known an answer that was true."
)
"""Words of ours: what follows random tokens is not what a server writes, and its distributions are far broader."""


class Bench:
    """A bundle, its forms, and what else of it is in this home."""

    def __init__(
        self,
        artifact: Artifact,
        served: Path | None,
        forms: Mapping[str, Path],
        tokens: int,
        rounds: int,
        kl: Mapping[str, float] | None = None,
    ) -> None:
        self.artifact, self.tokens, self.rounds, self.kl = artifact, tokens, rounds, dict(kl or {})
        self.engine = Engine.of(artifact, served)
        self.forms = dict(forms)
        self.plain = Controls.model_validate(self.engine.facts.sampler.model_dump())
        count = min(PROMPT_TOKENS, self.engine.facts.context - max(tokens, 2) - 1)
        ids = self.engine.prompt_ids(PROMPT) if len(PROMPT) < self.engine.facts.context else []
        known = np.setdiff1d(np.arange(self.engine.facts.vocab_size), self.engine.unused)
        self.ids: list[int] = (ids if len(ids) >= count else np.random.default_rng(0).choice(known, count).tolist())[:count]

    def writer(self, decoder: Decoder) -> Writer:
        facts = self.engine.facts
        return Writer(
            decoder, self.engine.tokenizer, vocab_size=facts.vocab_size, unused=self.engine.unused, eos=(), bounds=Bounds(rows=32)
        )  # fmt: skip

    def timed(
        self, writer: Writer, texts: int = 1, sampler: Controls | None = None, mark: Watermark | None = None, base: Decoder | None = None
    ) -> Pace:
        """Of `texts` at once."""
        (first, first_cpu), (seconds, cpu), _ = write(writer, self.ids, texts, self.tokens, sampler or self.plain, mark, base)
        tokens = texts * (self.tokens - 1)
        return Pace(first, tokens / seconds, tokens / cpu, first_cpu)


def write(
    writer: Writer, ids: list[int], texts: int, tokens: int, sampler: Controls, mark: Watermark | None = None, base: Decoder | None = None
) -> tuple[tuple[float, float], tuple[float, float], list[str]]:
    """Seconds to the first token, and from there to the end of all, each by the clock and of CPU; and the texts."""
    done, left, first, began = threading.Event(), [texts], list[tuple[float, float]](), (time.perf_counter(), time.process_time())
    written = [""] * texts

    def sink(number: int, event: Event) -> None:
        if not first:
            first.append((time.perf_counter(), time.process_time()))
        if isinstance(event, Piece):
            written[number] += event.text
        if isinstance(event, Ended):
            left[0] -= 1
            if not left[0]:
                done.set()

    steering = None if base is None else Steering(diversity=0.5)
    seeds = [(7, number) for number in range(texts)]
    writer.submit(Order(ids, tokens, sampler, seeds, sink, top=0, mark=mark, steering=steering, base=base))
    if not done.wait(600):
        raise RuntimeError("a text did not end within ten minutes")
    return (first[0][0] - began[0], first[0][1] - began[1]), (time.perf_counter() - first[0][0], time.process_time() - first[0][1]), written


def in_turn(kinds: Mapping[str, Callable[[], Pace]], rounds: int, kept: Path) -> dict[str, list[Pace]]:
    """What each kind gives, in alternation, after one turn that does not count. Whole turns are kept in a file, and gone on from."""
    turns: list[dict[str, Pace]] = []
    if kept.exists():
        turns = [{name: Pace(**pace) for name, pace in turn.items()} for turn in json.loads(kept.read_bytes())]
    for each in kinds.values() if len(turns) < rounds else ():
        each()
    while len(turns) < rounds:
        turns.append({name: action() for name, action in kinds.items()})
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, canonical_json([{name: asdict(pace) for name, pace in turn.items()} for turn in turns]))
    return {name: [turn[name] for turn in turns[:rounds]] for name in kinds}
