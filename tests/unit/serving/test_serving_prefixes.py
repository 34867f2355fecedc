"""Kept beginnings of prompts: less is read, no byte of a text changes, and memory is bounded."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from timbre.artifacts import Artifact
from timbre.inference.sampling import Controls
from timbre.serving.engine import Engine
from timbre.serving.passage import Piece
from timbre.serving.writer import PREFILL, Bounds, Ended, Event, Order, Writer

WARM = Controls(temperature=1.0)


@pytest.fixture(scope="module")
def engine(tiny_bundle: Artifact) -> Engine:
    return Engine.open(tiny_bundle.path)


def writer(engine: Engine, prefix_bytes: int) -> Writer:
    bounds = Bounds(rows=4, prefix_bytes=prefix_bytes)
    return Writer(engine.decoder, engine.tokenizer, vocab_size=engine.facts.vocab_size, unused=engine.unused, eos=(), bounds=bounds)


def written(on: Writer, ids: Sequence[int]) -> str:
    pieces, done = list[str](), threading.Event()

    def sink(_: int, event: Event) -> None:
        if isinstance(event, Piece):
            pieces.append(event.text)
        if isinstance(event, Ended):
            done.set()

    on.submit(Order(ids, 12, WARM, [(5,)], sink))
    assert done.wait(60)
    return "".join(pieces)


def prompts() -> Iterator[list[int]]:
    random = np.random.default_rng(1)
    shared = random.integers(3, 384, 2 * PREFILL).tolist()
    for length in (0, 1, 20, PREFILL):  # exactly the pieces, a little more, and another piece
        yield [*shared, *random.integers(3, 384, length).tolist()]
    yield shared[: PREFILL + 3]
    yield [9, *shared]  # the same tokens at other places are no beginning


def test_a_text_has_the_same_bytes_with_and_without_what_was_kept(engine: Engine) -> None:
    without, kept = writer(engine, 0), writer(engine, 1 << 26)
    expected = [written(without, ids) for ids in prompts()]
    for _ in range(2):
        assert [written(kept, ids) for ids in prompts()] == expected
    assert without.prefixes.reused == 0 and without.prefixes.nbytes == 0
    first = PREFILL * (0 + 2 + 2 + 2 + 1 + 0)  # of a prompt that is whole pieces the last one is read again
    second = PREFILL * (1 + 2 + 2 + 2 + 1 + 2)
    assert kept.prefixes.reused == first + second
    for each in (without, kept):
        each.close()


def test_memory_is_bounded_and_what_was_unused_for_longest_goes(engine: Engine) -> None:
    piece = PREFILL * engine.decoder.token_bytes
    on, random = writer(engine, 2 * piece), np.random.default_rng(2)
    first, second, third = (random.integers(3, 384, PREFILL + 1).tolist() for _ in range(3))
    for ids in (first, second, first, third):  # the second is the one that goes
        written(on, ids)
    assert on.prefixes.nbytes == 2 * piece and on.prefixes.reused == PREFILL
    written(on, first)
    assert on.prefixes.reused == 2 * PREFILL
    written(on, second)
    assert on.prefixes.reused == 2 * PREFILL
    on.close()
