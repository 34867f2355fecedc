"""A store whose bytes are not the ones that were written is refused by name before any of its rows is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tampering import ATTACKS, Attack, change_column, lower_top_k, reseal
from test_store_roundtrip import header, row, write
from test_store_sampled import drawn_row, sampled

from timbre.store import DamagedStoreError, RepeatedTokenError, StoreHeader, TargetReader, TargetWriter
from timbre.store.archive import pack, unpack
from timbre.store.format import HEADER


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five rows in two shards, from which no row is read."""
    write(tmp_path / "store", [row(seed) for seed in range(5)])
    monkeypatch.setattr(TargetReader, "_decode", lambda *_: pytest.fail("a row was read"))
    return tmp_path / "store"


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_change_is_named_on_opening(attack: Attack, store: Path) -> None:
    named = attack(store)
    with pytest.raises(DamagedStoreError, match=named.name if attack is not lower_top_k else r"00000\.arrow: ids has not 4 tokens"):
        TargetReader(store)


@pytest.mark.parametrize("changes", [{"top_k": 4}, {"top_k": 16}, {"precision": "fp16"}, {"vocab_size": 70_000}])
def test_a_header_that_was_sealed_again_must_still_fit_its_shards(changes: dict[str, Any], store: Path) -> None:
    reseal(store, StoreHeader.read(store / HEADER).model_copy(update=changes))
    with pytest.raises(DamagedStoreError, match=r"00000\.arrow"):
        TargetReader(store)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.replace('"coding": "topk",', ""),
        lambda text: text.replace("{", '{"alpha": 0.9,', 1),
        lambda text: text.replace("  ", " "),
    ],
    ids=["a field left out", "a field named twice", "other spaces"],
)
def test_a_header_that_comes_to_the_same_values_is_none_that_was_written(spelled: Callable[[str], str], store: Path) -> None:
    path = store / HEADER
    before = path.read_text()
    path.write_text(spelled(before))
    assert path.read_text() != before
    with pytest.raises(DamagedStoreError, match=r"header\.json is altered"):
        TargetReader(store)


def test_a_draw_more_or_less_is_no_header_of_these_shards(tmp_path: Path) -> None:
    sampled(tmp_path, [drawn_row(0)])
    reseal(tmp_path, StoreHeader.read(tmp_path / HEADER).model_copy(update={"coding": "topk", "draws": None}))
    with pytest.raises(DamagedStoreError, match=r"00000\.arrow"):
        TargetReader(tmp_path)


@pytest.mark.parametrize("name", [HEADER, "shards/00001.tza"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_archive_is_named_and_gives_no_store(name: str, kept: float, store: Path, tmp_path: Path) -> None:
    pack(store, tmp_path / "packed")
    path = tmp_path / "packed" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedStoreError, match=path.name):
        unpack(tmp_path / "packed", tmp_path / "again")
    with pytest.raises(DamagedStoreError, match="no finished target"):
        TargetReader(tmp_path / "again")


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.__name__ in ("altered_header", "lower_top_k")])
def test_an_archive_with_another_header_is_refused(attack: Attack, store: Path, tmp_path: Path) -> None:
    pack(store, tmp_path / "packed")
    attack(tmp_path / "packed")
    with pytest.raises(DamagedStoreError):
        unpack(tmp_path / "packed", tmp_path / "again")


def test_a_packed_store_says_how_it_is_read(store: Path, tmp_path: Path) -> None:
    pack(store, tmp_path / "packed")
    with pytest.raises(DamagedStoreError, match=r"packed.*unpack"):
        TargetReader(tmp_path / "packed")


@pytest.mark.parametrize("coding", ["topk", "sampled"])
def test_a_token_that_stands_twice_at_a_position_is_refused_on_reading(coding: str, tmp_path: Path) -> None:
    if coding == "topk":
        write(tmp_path, [row(0)])
    else:
        sampled(tmp_path, [drawn_row(0)])
    place = 9 if coding == "topk" else int(np.flatnonzero(drawn_row(0).probs_TK[0] > 0)[1])
    change_column(tmp_path, "ids", lambda ids: ids.__setitem__(place, ids[place - 1]))
    with pytest.raises(RepeatedTokenError, match=r"passage 0 of doc-0 has a position whose .* not distinct"):
        TargetReader(tmp_path)[0]


def test_a_token_outside_the_vocabulary_is_refused_on_reading(tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    change_column(tmp_path, "ids", lambda ids: ids.__setitem__(7, 65_535))
    with pytest.raises(DamagedStoreError, match=r"passage 0 of doc-0 has tokens outside 0\.\.299"):
        TargetReader(tmp_path)[0]


def test_a_token_that_stands_twice_is_never_written(tmp_path: Path) -> None:
    wrong = row(0)
    wrong.ids_TK[4, 3] = wrong.ids_TK[4, 2]
    with pytest.raises(RepeatedTokenError, match="passage 0 of doc-0: the target ids of a position must be distinct"):
        TargetWriter(tmp_path, header()).append(wrong)
