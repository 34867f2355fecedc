"""The sampled coding, prompts, n-gram weights and the archive form: what goes in comes out, and damage is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_store_roundtrip import bytes_of, header, row, write

from timbre.artifacts import Artifact, ArtifactStore, IntegrityError, Stage, Workspace
from timbre.config import CorpusConfig
from timbre.progress import SILENT
from timbre.store import DamagedStoreError, TargetReader, TargetRow, TargetWriter, WrongMassError
from timbre.store.archive import is_packed, pack, unpack
from timbre.store.coding import spread, tally

DRAWS, VOCAB = 12, 300


def drawn_row(seed: int, tokens: int = 9, vocab: int = VOCAB, draws: int = DRAWS) -> TargetRow:
    random = np.random.default_rng(seed)
    drawn = np.minimum(random.zipf(1.5, (tokens - 1, draws)) - 1, vocab - 1)
    ids, probs = spread(*tally(drawn), draws=draws, vocab_size=vocab)
    return TargetRow(f"doc-{seed}", seed, random.integers(0, vocab, tokens), ids, probs, np.zeros(tokens - 1, np.float32))


@hypothesis_settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 9999), vocab=st.sampled_from([5, 12, 13, 400]), draws=st.integers(1, 30))
def test_draws_become_shares_of_distinct_tokens(seed: int, vocab: int, draws: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, vocab, (6, draws))
    ids, probs = spread(*tally(drawn), draws=draws, vocab_size=vocab)
    assert ids.shape == probs.shape == (6, min(draws, vocab))
    assert (np.diff(ids, axis=1) > 0).all() and ids.min() >= 0 and ids.max() < vocab
    for position in range(6):
        dense = np.zeros(vocab)
        dense[ids[position]] = probs[position]
        np.testing.assert_allclose(dense * draws, np.bincount(drawn[position], minlength=vocab), atol=1e-5)


def sampled(folder: Path, rows: list[TargetRow]) -> None:
    write(folder, rows, coding="sampled", draws=DRAWS, top_k=DRAWS)


def test_sampled_rows_come_back_exactly(tmp_path: Path) -> None:
    rows = [drawn_row(seed) for seed in range(5)]
    sampled(tmp_path, rows)
    for wanted, got in zip(rows, TargetReader(tmp_path), strict=True):
        assert np.array_equal(got.ids_TK, wanted.ids_TK) and np.array_equal(got.token_ids_T, wanted.token_ids_T)
        np.testing.assert_allclose(got.probs_TK, wanted.probs_TK, atol=1e-7)
        assert not got.tail_T.any()


def test_draws_are_learnt_by_the_sparse_objective_as_by_the_dense_one(tmp_path: Path) -> None:
    """Zero-probability fillers and the missing tail change neither the loss nor the gradient, q − counts/N at every token.

    Float64 throughout; the counts come back in float32, hence 1e-6.
    """
    import torch

    from timbre.objectives.sparse_kl import sparse_forward_kl

    sampled(tmp_path, [drawn_row(3)])
    found = TargetReader(tmp_path)[0]
    torch.manual_seed(0)
    hidden = torch.randn(len(found), 6, dtype=torch.float64, requires_grad=True)
    head = torch.randn(VOCAB, 6, dtype=torch.float64)
    ids, probs = torch.from_numpy(found.ids_TK).long(), torch.from_numpy(found.probs_TK).double()
    sparse = sparse_forward_kl(hidden, head, ids, probs, torch.from_numpy(found.tail_T).double())
    (gradient,) = torch.autograd.grad(sparse, hidden)
    shares = torch.zeros(len(found), VOCAB, dtype=torch.float64).scatter(-1, ids, probs)
    log_q = (hidden @ head.T).log_softmax(-1)
    dense = (torch.xlogy(shares, shares) - shares * log_q).sum()
    torch.testing.assert_close(sparse, dense, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, torch.autograd.grad(dense, hidden)[0], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write(folder, [row(seed) for seed in range(4)])
    return folder


@hypothesis_settings(deadline=None, max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), shard=st.integers(0, 1))
def test_whichever_bit_of_a_shard_is_flipped_the_shard_is_named(whole_store: Path, place: float, bit: int, shard: int) -> None:
    path = whole_store / "shards" / f"{shard:05d}.arrow"
    intact = path.read_bytes()
    changed = bytearray(intact)
    changed[int(place * len(intact))] ^= 1 << bit
    try:
        path.write_bytes(changed)
        with pytest.raises(DamagedStoreError, match=path.name):
            TargetReader(whole_store)
    finally:
        path.write_bytes(intact)
    assert len(TargetReader(whole_store)) == 4


def test_what_was_not_drawn_is_not_written_as_sampled(tmp_path: Path) -> None:
    with pytest.raises(WrongMassError, match="no counts of 12 draws"):
        sampled(tmp_path, [row(0, top_k=DRAWS)])


def test_a_stored_count_too_many_is_refused_on_reading(tmp_path: Path) -> None:
    sampled(tmp_path, [drawn_row(0)])
    path = tmp_path / "shards" / "00000.arrow"
    batch = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).get_batch(0)
    counts = batch["codes"].values.to_numpy().copy()
    counts[4] += 1
    changed = batch.set_column(
        batch.schema.get_field_index("codes"), "codes", pa.ListArray.from_arrays(batch["codes"].offsets, pa.array(counts))
    )
    with pa.ipc.new_file(str(path), changed.schema) as file:
        file.write_batch(changed)
    with pytest.raises(WrongMassError, match="without 12 draws"):
        TargetReader(tmp_path, verify=False)[0]


def prompted(seed: int, prompt: int) -> TargetRow:
    whole = row(seed)
    at = slice(prompt - 1, None)
    eta = np.linspace(0, 0.5, len(whole))[at]
    return TargetRow(whole.doc_id, seed, whole.token_ids_T, whole.ids_TK[at], whole.probs_TK[at], whole.tail_T[at], prompt, eta)


def test_a_prompt_has_tokens_and_no_distributions(tmp_path: Path) -> None:
    rows = [prompted(0, 1), prompted(1, 5)]
    write(tmp_path, rows)
    found = list(TargetReader(tmp_path))
    assert [each.first_label for each in found] == [1, 5] and [len(each) for each in found] == [11, 7]
    assert np.array_equal(found[1].observed, rows[1].token_ids_T[5:])
    assert found[1].eta_T is not None and rows[1].eta_T is not None
    np.testing.assert_allclose(found[1].eta_T, rows[1].eta_T, atol=3e-4)
    with pytest.raises(ValueError, match="leave some to learn"):
        TargetWriter(tmp_path / "other", header()).append(TargetRow("d", 0, np.arange(4), *(np.zeros((0, 8)),) * 2, np.zeros(0), 4))


@pytest.mark.parametrize("precision", ["u8", "fp16"])
def test_a_packed_target_unpacks_to_the_same_bytes(tmp_path: Path, precision: str) -> None:
    write(tmp_path / "whole", [row(seed, tokens=2 + seed) for seed in range(8)], precision=precision)
    pack(tmp_path / "whole", tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "whole")


def test_packed_draws_prompts_and_large_ids_unpack_to_the_same_bytes(tmp_path: Path) -> None:
    sampled(tmp_path / "draws", [drawn_row(seed) for seed in range(4)])
    write(tmp_path / "prompts", [prompted(seed, 1 + seed) for seed in range(5)])
    write(tmp_path / "large", [row(seed, vocab=70_000) for seed in range(2)], vocab_size=70_000)
    for name in ("draws", "prompts", "large"):
        pack(tmp_path / name, tmp_path / "packed" / name)
        unpack(tmp_path / "packed" / name, tmp_path / "again" / name)
        assert bytes_of(tmp_path / "again" / name) == bytes_of(tmp_path / name)


def test_a_packed_artifact_unpacks_to_the_same_artifact(tmp_path: Path) -> None:
    """Manifest, admission and pictures travel along, so that what comes back is verified as what was built."""

    def build(_: CorpusConfig, __: object, workspace: Workspace) -> None:
        write(workspace.output, [row(seed) for seed in range(5)])
        (workspace.output / "admission.json").write_text("{}")
        (workspace.output / "pictures").mkdir()
        (workspace.output / "pictures" / "support.svg").write_text("<svg/>")

    target = ArtifactStore(tmp_path / "home", SILENT).build(Stage("target", 1, build), CorpusConfig(), {})
    assert not is_packed(target.path)
    pack(target.path, tmp_path / "packed")
    assert is_packed(tmp_path / "packed")
    with pytest.raises(IntegrityError):
        Artifact.open(tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "again")
    assert Artifact.open(tmp_path / "again").digest == target.digest


@pytest.mark.parametrize("damage", ["cut", "flip early", "flip late", "remove", "empty"])
def test_a_damaged_archive_is_named_and_leaves_nothing_behind(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "whole", [row(seed) for seed in range(5)])
    pack(tmp_path / "whole", tmp_path / "packed")
    path = tmp_path / "packed" / "shards" / "00001.tza"
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        content[20 if damage == "flip early" else -9] ^= 0x10
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2] if damage == "cut" else content)
    with pytest.raises(DamagedStoreError, match="00001"):
        unpack(tmp_path / "packed", tmp_path / "again")
    assert not [path for path in (tmp_path / "again").rglob("*") if path.is_file()]


def test_nothing_is_packed_or_unpacked_over_something_else(tmp_path: Path) -> None:
    write(tmp_path / "whole", [row(0)])
    pack(tmp_path / "whole", tmp_path / "packed")
    with pytest.raises(ValueError, match="exists already"):
        pack(tmp_path / "whole", tmp_path / "packed")
    with pytest.raises(ValueError, match="already holds a target"):
        unpack(tmp_path / "packed", tmp_path / "whole")


def test_packing_makes_a_target_of_likely_text_a_third_smaller(tmp_path: Path) -> None:
    """Frequent tokens are small numbers here, as in a real vocabulary, so that the high bytes of ids nearly vanish."""
    rows = []
    for seed in range(6):
        whole = row(seed, tokens=200, top_k=32, vocab=VOCAB)
        rows.append(whole)
    write(tmp_path / "whole", rows, top_k=32)
    pack(tmp_path / "whole", tmp_path / "packed")
    sizes = [sum(path.stat().st_size for path in (tmp_path / name / "shards").iterdir()) for name in ("whole", "packed")]
    assert sizes[1] < 0.67 * sizes[0]
