"""A row's numbers are its own: no bit of them changes with who joins, leaves or writes beside it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.artifacts import Artifact
from timbre.export.session import Cache, Decoder
from timbre.export.slots import STRIDE, stride

Logits = NDArray[np.float32]
LENGTHS = (5, 60, STRIDE - 1, STRIDE, 130, 20, 7, 33)


@pytest.fixture(scope="module", params=["model.onnx", "serving.onnx"])
def decoder(tiny_bundle: Artifact, request: pytest.FixtureRequest) -> Decoder:
    return Decoder.open(Path(tiny_bundle.file(request.param)))


def read(decoder: Decoder, ids: list[int]) -> tuple[Logits, Cache]:
    logits, cache = decoder.step(np.array([ids], np.int64), decoder.empty_cache(1))
    return logits[0, -1], cache


def prompts() -> list[list[int]]:
    random = np.random.default_rng(5)
    return [random.integers(3, 384, length).tolist() for length in LENGTHS]


def alone(decoder: Decoder, ids: list[int], steps: int) -> list[Logits]:
    logits, cache = read(decoder, ids)
    slots, seen = decoder.rows(), [logits]
    slots.join(cache)
    for _ in range(steps):
        seen.append(slots.step(np.array([seen[-1].argmax()]))[0].copy())
    return seen


def test_rows_that_come_and_go_have_the_logits_they_have_alone_bit_for_bit(decoder: Decoder) -> None:
    steps, waiting = 12, list(enumerate(prompts()))
    expected = [alone(decoder, ids, steps) for _, ids in waiting]
    slots, rows, compared = decoder.rows(), list[tuple[int, list[Logits]]](), 0
    while waiting or rows:
        if waiting:
            number, ids = waiting.pop(0)
            logits, cache = read(decoder, ids)
            slots.join(cache)
            rows.append((number, [logits]))
        for (_, seen), logits in zip(rows, slots.step(np.array([seen[-1].argmax() for _, seen in rows])), strict=True):
            seen.append(logits.copy())
        for row in range(len(rows) - 1, -1, -1):
            number, seen = rows[row]
            if len(seen) > steps:
                assert all(np.array_equal(one, other) for one, other in zip(seen, expected[number], strict=True)), number
                compared += 1
                slots.leave(row)
                rows[row] = rows[-1]
                rows.pop()
    assert compared == len(LENGTHS) and slots.rows == 0 and slots.nbytes == 0


def test_static_buffers_give_what_a_growing_cache_gives(decoder: Decoder) -> None:
    for ids in prompts()[:4]:
        logits, cache = read(decoder, ids)
        for kept in alone(decoder, ids, 6):
            np.testing.assert_allclose(kept, logits, atol=2e-5)  # sums in another order, fp32
            grown, cache = decoder.step(np.array([[logits.argmax()]]), cache)
            logits = grown[0, -1]


def test_a_batch_grows_beyond_its_slots_and_shrinks_when_long_rows_leave(decoder: Decoder) -> None:
    slots = decoder.rows()
    short, long = ([7] * 8, [9] * 400)
    for ids in (long, short):
        slots.join(read(decoder, ids)[1])
    slots.step(np.array([5, 6]))
    held = slots.nbytes
    slots.leave(0)
    assert slots.rows == 1 and slots.nbytes < held / 4
    seen = alone(decoder, [*short, 6], STRIDE + 20)
    token = seen[0].argmax()
    for step in range(1, STRIDE + 20):
        logits = slots.step(np.array([token]))[0].copy()
        token = logits.argmax()
        assert np.allclose(logits, seen[step], atol=1e-4), step


def test_a_step_of_the_served_decoder_writes_one_token_a_row_into_the_buffers_and_nothing_else(tiny_bundle: Artifact) -> None:
    decoder = Decoder.open(tiny_bundle.file("serving.onnx"))
    assert decoder.in_place and not Decoder.open(tiny_bundle.file("model.onnx")).in_place
    slots, lengths = decoder.rows(), (5, 9)
    for length in lengths:
        slots.join(read(decoder, [7] * length)[1])
    slots.step(np.array([3, 4]))
    buffers, before = slots._past, [part.copy() for part in slots._past]
    slots.step(np.array([5, 6]))
    assert slots._past is buffers and slots.nbytes == sum(part.nbytes for part in buffers)  # no second set for what comes out
    for part, old in zip(buffers, before, strict=True):
        changed = np.argwhere((part != old).any(axis=(1, 3)))
        assert changed.tolist() == [[row, length + 1] for row, length in enumerate(lengths)]


def test_of_a_prompt_the_head_is_multiplied_for_the_last_token_alone(tiny_bundle: Artifact) -> None:
    """The served graph computes no other logits where they are not wanted; what follows is what the exported graph says."""
    served, exported = (Decoder.open(tiny_bundle.file(name)) for name in ("serving.onnx", "model.onnx"))
    session = served._session
    assert "logits_from" in {item.name for item in session.get_inputs()}
    heads, size = served.kv_shape
    feeds = {item.name: np.zeros((1, heads, 9, size), np.float32) for item in session.get_inputs() if item.name.startswith("past")}
    feeds |= {"position_ids": np.arange(9)[None]} if "position_ids" in {item.name for item in session.get_inputs()} else {}
    feeds |= {"input_ids": np.arange(3, 12)[None], "seqlens_k": np.array([8], np.int32), "total_sequence_length": np.array(9, np.int32)}
    assert [session.run(["logits"], feeds | {"logits_from": np.array([place])})[0].shape[1] for place in (0, 5, 8)] == [9, 4, 1]
    for ids in prompts():
        found = []
        for decoder in (served, exported):
            whole, _ = decoder.step(np.array([ids], np.int64), decoder.empty_cache(1))
            last, cache = decoder.read(np.array([ids], np.int64), decoder.empty_cache(1))
            assert last.shape == whole[:, -1].shape and np.allclose(last, whole[:, -1], atol=1e-5)
            more, _ = decoder.read(np.array([[5, 6, 7]], np.int64), cache)
            found.append(np.concatenate([last, more]))
        np.testing.assert_allclose(*found, atol=1e-4)


def test_slots_are_counted_in_strides() -> None:
    assert [stride(n) for n in (0, 1, STRIDE, STRIDE + 1)] == [STRIDE, STRIDE, STRIDE, 2 * STRIDE]
