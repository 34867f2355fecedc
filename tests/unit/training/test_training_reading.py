"""Training reads a target row by row, and only what was written: to the same bytes as from memory, in the memory of a few rows."""

import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tampering import ATTACKS, Attack, altered_header, change_column, flipped_byte, lower_top_k, overwrite, swapped_shards, truncated_shard
from training_inputs import TrainingInputs, training_config, training_passages

from timbre.artifacts import Artifact, ArtifactStore, HashCache, IntegrityError, Stage, Workspace, sha256_file
from timbre.config import TargetConfig
from timbre.models import load_model
from timbre.progress import SILENT
from timbre.store import RepeatedTokenError, TargetReader, TargetRow, TargetWriter
from timbre.store.format import HEADER, StoreHeader
from timbre.tasks.stages import materialise, opened
from timbre.training.adapters import save_adapter
from timbre.training.data import Example
from timbre.training.reading import Examples
from timbre.training.stage import train_adapter
from timbre.training.trainer import train

VOCABULARY = 384


def rewritten(folder: Path, source: Path, rows: list[TargetRow], rows_per_shard: int = 5) -> None:
    """A store with the header of `source` and other rows."""
    header = StoreHeader.read(source / HEADER).model_copy(update={"shards": (), "digest": None})
    with TargetWriter(folder, header, rows_per_shard) as writer:
        for row in rows:
            writer.append(row)


@pytest.fixture(scope="module")
def uneven(training_inputs: TrainingInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of the tiny target in five shards, every third cut short and every fourth with a prompt."""
    folder = tmp_path_factory.mktemp("uneven")

    def cut(number: int, row: TargetRow) -> TargetRow:
        end = 47 if number % 3 else 20
        at = slice(9 if number % 4 == 3 else 0, end)
        first = at.start + 1
        return TargetRow(row.doc_id, row.index, row.token_ids_T[: end + 1], row.ids_TK[at], row.probs_TK[at], row.tail_T[at], first)

    rewritten(folder, training_inputs.target.path, [cut(*one) for one in enumerate(TargetReader(training_inputs.target.path))])
    return folder


WAYS: tuple[dict[str, Any], ...] = (
    {}, {"packing": True}, {"micro_tokens": 60}, {"packing": True, "micro_tokens": 90, "base_kl_weight": 0.1}, {"objective": "sft"},
    {"objective": "jsd"}, {"objective": "dpo", "dpo_prompt_tokens": 30}, {"adapter": "correction"},
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_rows_read_one_by_one_train_the_same_bytes_as_rows_held_in_memory(
    way: dict[str, Any], training_inputs: TrainingInputs, uneven: Path, tmp_path: Path
) -> None:
    plain = training_passages(training_inputs.model, training_inputs.corpus, "validation")
    held_out, replay = [Example.of_passage(one) for one in plain], [Example(one.token_ids, first_label=20) for one in plain[:3]]
    config = training_config(**{"epochs": 1, "evaluate_every": 2, "replay_weight": 0.1} | way)
    found = {}
    reader = TargetReader(uneven)
    for name, examples in (("read", Examples.stored(reader)), ("held", [Example.of_row(row) for row in reader])):
        folder = tmp_path / name
        folder.mkdir()
        more: dict[str, Any] = {"held_out": held_out, "replay": replay, "scratch": folder, "progress": SILENT}
        result = train(load_model(training_inputs.model), examples, config, vocab_size=VOCABULARY, **more)
        save_adapter(result.model, folder / "adapter")
        (weights,) = (folder / "adapter").glob("*.safetensors")
        found[name] = (weights.read_bytes(), result.curve.read_bytes(), result.summary)
    assert found["read"] == found["held"] and found["read"][2]["steps"] > 2


def test_examples_of_a_store_are_those_of_its_rows(uneven: Path) -> None:
    reader = TargetReader(uneven)
    examples, rows = Examples.stored(reader), list(reader)
    assert len(examples) == len(rows) == 24 and len(reader.header.shards) == 5
    assert examples.positions == [len(row) for row in rows]
    for example, row in zip(examples, rows, strict=True):
        assert (example.token_ids_T == row.token_ids_T).all() and (example.ids_TK == row.ids_TK).all()
        assert example.first_label == row.first_label
    assert [(one.doc_id, one.index, one.tokens) for one in reader.outlines()] == [
        (row.doc_id, row.index, len(row.token_ids_T)) for row in rows
    ]
    assert (examples.read_text(7).token_ids_T == rows[7].token_ids_T).all() and examples.read_text(7).probs_TK is None
    assert examples[-1].first_label == rows[-1].first_label and len(examples[3:6]) == 3
    with pytest.raises(IndexError):
        examples[24]


def test_another_store_is_another_run(uneven: Path, training_inputs: TrainingInputs, tmp_path: Path) -> None:
    rewritten(tmp_path / "less", uneven, list(TargetReader(uneven))[:-1])
    digests = {Examples.stored(TargetReader(folder)).digest for folder in (uneven, tmp_path / "less", training_inputs.target.path)}
    assert len(digests) == 3


def test_what_training_holds_does_not_grow_with_the_rows(training_inputs: TrainingInputs, uneven: Path, tmp_path: Path) -> None:
    """What Python and numpy hold at most while a step's batches are made; torch's share is that of one batch.

    Sixteen times the rows are 360 rows more of 47·8·8 bytes decoded, over a megabyte; a row's sizes are some 100 bytes.
    """
    rows = list(TargetReader(uneven))
    peaks = {}
    for times in (1, 16):
        rewritten(tmp_path / str(times), uneven, rows * times, rows_per_shard=64)
        reader = TargetReader(tmp_path / str(times))
        tracemalloc.start()
        examples = Examples.stored(reader)
        for number in range(0, len(examples), 4):
            _ = examples[number : number + 4]
        peaks[times] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[16] - peaks[1] < 15 * len(rows) * 300


@pytest.fixture
def place(training_inputs: TrainingInputs, uneven: Path, tmp_path: Path) -> Iterator[TrainingInputs]:
    """The inputs in a home of their own, the target in five shards; everything's hashes are remembered."""

    def write(_: object, __: object, workspace: Workspace) -> None:
        shutil.copytree(uneven, workspace.output, dirs_exist_ok=True)

    store = ArtifactStore(tmp_path / "home", SILENT)
    model, corpus = (store.adopt(one.path) for one in (training_inputs.model, training_inputs.corpus))
    target = store.build(Stage("target", 1, write), TargetConfig(), {})
    store.open("target", target.digest)
    yield TrainingInputs(store, model, corpus, target, training_inputs.replay)


def trained(place: TrainingInputs, target: Artifact | None = None) -> Artifact:
    return train_adapter(training_config(epochs=1), target or place.target, place.corpus, place.model, place.replay, place.store)


HIDDEN = (flipped_byte, altered_header)
"""Those that leave inode, size and mtime as they were: only the time of the inode's last change tells."""
NAMED = {
    flipped_byte: "00001.arrow",
    altered_header: HEADER,
    lower_top_k: HEADER,
    swapped_shards: "00000.arrow",
    truncated_shard: "00000.arrow",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_training_names_what_was_changed_before_a_row_is_read(
    attack: Attack, place: TrainingInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetReader, "_decode", lambda *_: pytest.fail("a row was read"))
    attack(place.target.path)
    if attack in HIDDEN:
        with pytest.raises(IntegrityError, match="is not the one in the manifest"):
            place.store.open("target", place.target.digest)
        known = {place.target.path / name: record.sha256 for name, record in place.target.manifest.files.items()}
        monkeypatch.setattr(HashCache, "sha256", lambda _, path: known.get(path) or sha256_file(path))
        assert place.store.open("target", place.target.digest) == place.target, "what is remembered is wrong, and believed"
    with pytest.raises(IntegrityError, match=NAMED[attack].replace(".", r"\.")):
        trained(place)
    assert not list((place.store.home / "artifacts" / "adapter").glob("*/manifest.json"))


def test_training_refuses_a_sealed_header_that_is_not_the_artifacts(place: TrainingInputs) -> None:
    """Sealed again, and nothing that the shards could tell: α is a word of the header alone."""
    header = StoreHeader.read(place.target.path / HEADER)
    overwrite(place.target.path / HEADER, header.model_copy(update={"alpha": 0.9}).sealed(header.shards).to_json())
    assert len(TargetReader(place.target.path)) == 24, "as a store it is whole"
    with pytest.raises(IntegrityError, match=r"header\.json: its sha256 is not the one in the manifest"):
        trained(place)


def test_training_refuses_a_token_that_stands_twice_at_a_position(place: TrainingInputs, tmp_path: Path) -> None:
    def write(_: object, __: object, workspace: Workspace) -> None:
        shutil.copytree(place.target.path, workspace.output, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        change_column(workspace.output, "ids", lambda ids: ids.__setitem__(1, ids[0]))

    wrong = place.store.build(Stage("target", 2, write), TargetConfig(), {})
    with pytest.raises(RepeatedTokenError, match="not distinct"):
        trained(place, wrong)


def test_a_truncated_archive_never_becomes_a_target_to_train_on(place: TrainingInputs, tmp_path: Path) -> None:
    laid = tmp_path / "laid"
    materialise(place.target, laid, packed=True)
    with opened(laid, tmp_path / "scratch") as whole:
        assert trained(place, whole).stage == "adapter"
    path = laid / "shards" / "00002.tza"
    overwrite(path, path.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match=r"00002\.tza"), opened(laid, tmp_path / "scratch") as cut:
        trained(place, cut)
    assert not list((tmp_path / "scratch").iterdir())


def test_two_processes_refuse_what_one_refuses(place: TrainingInputs) -> None:
    flipped_byte(place.target.path)
    config = training_config(epochs=1, processes=2)
    with pytest.raises(IntegrityError, match=r"00001\.arrow"):
        train_adapter(config, place.target, place.corpus, place.model, place.replay, place.store)
