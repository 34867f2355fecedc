"""What is written to a target store comes back; what is damaged, foreign or no distribution does not."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from timbre.store import (
    DamagedStoreError,
    StoreHeader,
    TargetReader,
    TargetRow,
    TargetWriter,
    TooManyTokensError,
    WrongCorpusError,
    WrongMassError,
    WrongTokenizerError,
)
from timbre.store.coding import decode, encode, half

VOCAB = 300


def header(**changes: Any) -> StoreHeader:
    values: dict[str, Any] = {
        "top_k": 8, "vocab_size": VOCAB, "tokenizer_digest": "tok", "corpus_digest": "corpus", "model_digest": "model",
        "folds": 2, "temperature": 1.0, "alpha": 0.5, "seed": 1,
    }  # fmt: skip
    return StoreHeader(**{**values, **changes})


def row(seed: int, tokens: int = 12, top_k: int = 8, vocab: int = VOCAB, scale: float = 3.0) -> TargetRow:
    random = np.random.default_rng(seed)
    logits = scale * random.standard_normal((tokens - 1, vocab))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    ids = np.sort(np.argsort(-probs, axis=1)[:, :top_k], axis=1)
    kept = np.take_along_axis(probs, ids, axis=1)
    np.put_along_axis(probs, ids, 0.0, axis=1)
    return TargetRow(f"doc-{seed}", seed, random.integers(0, vocab, tokens).astype(np.int32), ids, kept, probs.sum(axis=1))


def write(folder: Path, rows: list[TargetRow], rows_per_shard: int = 3, **changes: Any) -> StoreHeader:
    with TargetWriter(folder, header(**changes), rows_per_shard) as writer:
        for each in rows:
            writer.append(each)
    return TargetReader(folder).header


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kl(p: np.ndarray, p_tail: np.ndarray, q: np.ndarray, q_tail: np.ndarray) -> np.ndarray:
    """KL a position between two K+1 distributions."""
    p, q = np.c_[p, p_tail].astype(float), np.c_[q, q_tail].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p / q), 0.0).sum(axis=1)


@pytest.mark.parametrize("precision", ["u8", "fp16"])
@pytest.mark.parametrize("vocab", [VOCAB, 70_000])
def test_rows_come_back(tmp_path: Path, precision: str, vocab: int) -> None:
    rows = [row(seed, tokens=2 + seed, vocab=vocab) for seed in range(8)]
    found = write(tmp_path, rows, precision=precision, vocab_size=vocab)
    assert (found.rows, found.tokens) == (8, sum(2 + seed for seed in range(8)))
    assert [shard.rows for shard in found.shards] == [3, 3, 2]
    reader = TargetReader(tmp_path, tokenizer_digest="tok", corpus_digest="corpus")
    for wanted, got in zip(rows, reader.rows(), strict=True):
        assert (got.doc_id, got.index, len(got)) == (wanted.doc_id, wanted.index, len(wanted.token_ids_T) - 1)
        assert np.array_equal(got.token_ids_T, wanted.token_ids_T)
        assert np.array_equal(got.ids_TK, wanted.ids_TK)
        np.testing.assert_allclose(got.probs_TK.sum(axis=1) + got.tail_T, 1, atol=1e-6)
        np.testing.assert_allclose(got.tail_T, wanted.tail_T, rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(got.probs_TK, wanted.probs_TK, rtol=0.05 if precision == "u8" else 2e-3)
    assert reader[5].doc_id == "doc-5" and reader[-1].doc_id == "doc-7"
    with pytest.raises(IndexError, match="8 rows"):
        reader[8]


@hypothesis_settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.5, 2.0, 6.0]), alpha=st.sampled_from([0.0, 0.5, 0.9]))
def test_one_byte_a_probability_costs_almost_no_divergence(seed: int, scale: float, alpha: float) -> None:
    """The grid's step is span/254; rounding by at most half of it bounds the KL by (step/2)², and far less on average."""
    exact = row(seed, tokens=40, top_k=32, scale=scale)
    probs, tail = (1 - alpha) * exact.probs_TK, (1 - alpha) * exact.tail_T
    probs[np.arange(len(probs)), seed % 32] += alpha
    codes, spans = encode(probs)
    stored_tail = half(tail).astype(np.float32)
    step = spans.max() / 8 / 254
    divergence = kl(probs, tail, decode(codes, spans, stored_tail), stored_tail)
    assert divergence.max() <= (step / 2) ** 2 + 1e-6
    assert (divergence >= -1e-7).all()


def test_zeros_stay_zero_and_a_certain_token_stays_certain() -> None:
    probs = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1e-30, 0.5, 0.5]])
    tail = np.array([0.0, 1.0, 0.0], dtype=np.float32)
    codes, spans = encode(probs)
    decoded = decode(codes, spans, tail)
    assert decoded[:2].tolist() == [[0, 1, 0], [0, 0, 0]]
    assert 0 < decoded[2, 0] < 1e-13 and decoded[2, 1] == pytest.approx(0.5)


def test_a_tiny_tail_keeps_its_size() -> None:
    """As 1 − Σp in half precision, 3e-5 would be 0 or 5e-4."""
    probs = np.full((1, 4), (1 - 3e-5) / 4)
    codes, spans = encode(probs)
    tail = half(np.array([3e-5]))
    assert half(np.array([1e-12, 0.0])).tolist() == [2.0**-24, 0.0]
    assert float(tail[0]) == pytest.approx(3e-5, rel=2e-3)
    assert math.isclose(decode(codes, spans, tail).sum(), 1 - 3e-5, abs_tol=1e-6)


def test_a_passage_takes_three_bytes_a_target_token_and_little_more(tmp_path: Path) -> None:
    write(tmp_path, [row(seed, tokens=256, top_k=32) for seed in range(12)], rows_per_shard=64, top_k=32)
    size = sum(path.stat().st_size for path in (tmp_path / "shards").iterdir())
    assert size / (12 * 256) <= 102


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 7, 8])
def test_an_interrupted_build_goes_on_to_the_same_bytes(tmp_path: Path, stop: int) -> None:
    rows = [row(seed) for seed in range(8)]
    write(tmp_path / "whole", rows)
    writer = TargetWriter(tmp_path / "killed", header(), 3)
    for each in rows[:stop]:
        writer.append(each)
    with pytest.raises(DamagedStoreError, match="no finished target"):
        TargetReader(tmp_path / "killed")
    with TargetWriter(tmp_path / "killed", header(), 3) as again:
        assert again.rows_done == stop // 3 * 3
        for each in rows[again.rows_done :]:
            again.append(each)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_a_writer_killed_from_outside_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_store_roundtrip import header, row, TargetWriter\n"
        "writer = TargetWriter(Path(sys.argv[1]), header(), 3)\n"
        "for seed in range(7): writer.append(row(seed))\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    rows = [row(seed) for seed in range(8)]
    with TargetWriter(tmp_path / "killed", header(), 3) as again:
        assert again.rows_done == 6
        for each in rows[6:]:
            again.append(each)
    write(tmp_path / "whole", rows)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_shards_of_another_target_are_never_continued(tmp_path: Path) -> None:
    TargetWriter(tmp_path, header(), 3).append(row(0))
    with pytest.raises(ValueError, match="start of another target"):
        TargetWriter(tmp_path, header(alpha=0.25), 3)


def test_a_finished_target_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    with pytest.raises(ValueError, match="already holds a target"):
        TargetWriter(tmp_path, header(), 3)


def test_a_foreign_tokenizer_or_corpus_is_named(tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    with pytest.raises(WrongTokenizerError, match="other-tok"):
        TargetReader(tmp_path, tokenizer_digest="other-tok")
    with pytest.raises(WrongCorpusError, match="other-corpus"):
        TargetReader(tmp_path, corpus_digest="other-corpus")


@pytest.mark.parametrize("name", ["shards/00000.arrow", "shards/00001.arrow", "header.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "empty"])
def test_every_damaged_file_is_named_before_any_row_is_read(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path, [row(seed) for seed in range(5)])
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "remove":
        path.unlink()
    else:
        position = len(content) // 2 if name != "header.json" else content.index(b'"sha256": "') + 11
        content[position] ^= 1
        path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=path.name):
        TargetReader(tmp_path)


def test_a_cut_shard_is_named_also_without_hashing(tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    path = tmp_path / "shards" / "00000.arrow"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedStoreError, match="not a readable shard"):
        TargetReader(tmp_path, verify=False)[0]


def test_a_shard_without_rows_is_named(tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    path = tmp_path / "shards" / "00000.arrow"
    batch = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).get_batch(0)
    with pa.ipc.new_file(str(path), batch.schema) as file:
        file.write_batch(batch.slice(0, 0))
    with pytest.raises(DamagedStoreError, match=r"00000\.arrow has 0 rows, its header says 1"):
        TargetReader(tmp_path, verify=False)[0]


@pytest.mark.parametrize(
    ("probs", "tail", "complaint"),
    [([0.5, np.nan], 0.5, "not finite"), ([0.5, -0.1], 0.6, "negative"), ([0.5, 0.7], -0.2, "negative"), ([0.5, 0.3], 0.5, "sum to 1"),
     ([0.5, 0.5], np.inf, "not finite"), ([0.1, 0.1], 0.0, "sum to 1")],
)  # fmt: skip
def test_what_is_no_distribution_is_not_written(tmp_path: Path, probs: list[float], tail: float, complaint: str) -> None:
    writer = TargetWriter(tmp_path, header(top_k=2))
    good = ([0.5, 0.3], 0.2)
    bad = TargetRow("d", 0, np.arange(3), np.array([[1, 2]] * 2), np.array([good[0], probs]), np.array([good[1], tail]))
    with pytest.raises(WrongMassError, match=f"position 1 .*{complaint}"):
        writer.append(bad)


@pytest.mark.parametrize("tail", [np.nan, -0.25, 1.5])
def test_a_stored_tail_that_is_no_mass_is_refused_on_reading(tmp_path: Path, tail: float) -> None:
    write(tmp_path, [row(0)])
    path = tmp_path / "shards" / "00000.arrow"
    batch = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).get_batch(0)
    tails = batch["tails"].values.to_numpy().copy()
    tails[3] = tail
    column = pa.ListArray.from_arrays(batch["tails"].offsets, pa.array(tails))
    changed = batch.set_column(batch.schema.get_field_index("tails"), "tails", column)
    with pa.ipc.new_file(str(path), changed.schema) as file:
        file.write_batch(changed)
    with pytest.raises(WrongMassError, match="passage 0 of doc-0"):
        TargetReader(tmp_path, verify=False)[0]


def test_more_tokens_than_the_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooManyTokensError, match=r"lower target\.top_k"):
        TargetWriter(tmp_path, header(top_k=64, vocab_size=50))


def test_a_small_vocabulary_may_be_stored_whole(tmp_path: Path) -> None:
    whole = row(1, top_k=20, vocab=20)
    write(tmp_path, [whole], top_k=20, vocab_size=20)
    found = TargetReader(tmp_path)[0]
    assert not found.tail_T.any()
    assert kl(whole.probs_TK, whole.tail_T, found.probs_TK, found.tail_T).max() < 1e-3


def test_an_empty_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without passages"):
        TargetWriter(tmp_path, header()).close()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"token_ids_T": np.array([1])}, "at least 2"),
        ({"ids_TK": np.array([[5, 5]])}, "distinct and ascending"),
        ({"ids_TK": np.array([[5, VOCAB]])}, "must lie in"),
        ({"token_ids_T": np.array([-1, 2])}, "must lie in"),
        ({"tail_T": np.array([0.2, 0.2])}, "need shapes"),
    ],
)
def test_a_row_that_does_not_fit_is_a_sentence(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    values: dict[str, Any] = {
        "doc_id": "d", "index": 0, "token_ids_T": np.array([1, 2]), "ids_TK": np.array([[5, 6]]),
        "probs_TK": np.array([[0.5, 0.3]]), "tail_T": np.array([0.2]),
    }  # fmt: skip
    with pytest.raises(ValueError, match=complaint):
        TargetWriter(tmp_path, header(top_k=2)).append(TargetRow(**{**values, **change}))
