"""Garbage collection gives up nothing that a promotion, a rollback or a reader needs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.cli import app
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.registry.retention import Retention, Stored, removable
from timbre.tasks.context import open_ledger

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def _item(digest: str, *inputs: str, stage: str = "corpus", age: float = 90) -> Stored:
    return Stored(Path(digest), stage, digest, inputs, NOW - timedelta(days=age), 1)


def _gone(items: list[Stored], roots: set[str], newest: int = 0, days: float = 30) -> list[str]:
    return [item.digest for item in removable(items, roots, Retention(newest, days), NOW)]


def test_whatever_a_root_was_made_from_stays_and_the_rest_goes_oldest_first() -> None:
    items = [
        _item("model"),
        _item("target", "model", "corpus"),
        _item("corpus"),
        _item("verdict", "target"),
        _item("old", age=99),
        _item("x"),
    ]
    assert _gone(items, {"verdict"}) == ["old", "x"]
    assert _gone(items, set()) == ["old", "corpus", "model", "target", "verdict", "x"]


def test_the_form_in_which_a_champion_is_served_stays_with_it() -> None:
    items = [
        _item("bundle", stage="bundle"),
        _item("int8", "bundle", "corpus", stage="quantised"),
        _item("engines", "bundle", "int8", stage="engines"),
        _item("served", "bundle", "engines", "int8", stage="served"),
        _item("base8", "bundle", "base", stage="quantised"),
        _item("base", stage="base"),
        _item("other", stage="bundle"),
        _item("other8", "other", stage="quantised"),
    ]
    assert _gone(items, {"bundle"}) == ["other", "other8"]


def test_the_young_and_the_newest_of_each_stage_stay() -> None:
    items = [
        _item("a", age=50),
        _item("b", age=40),
        _item("c", age=5),
        _item("d", stage="verdict", age=60),
        _item("e", "a", stage="x", age=1),
    ]
    assert _gone(items, set(), newest=1) == ["b"]
    assert _gone(items, set(), newest=1, days=0) == ["b"]
    assert _gone(items, set(), newest=0, days=0) == ["d", "a", "b", "c", "e"]
    with pytest.raises(ValueError, match="0 or more"):
        _gone(items, set(), newest=-1)


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3)), max_size=12), st.sets(st.integers(0, 9)))
def test_nothing_that_is_kept_reads_something_that_went(rows: list[tuple[int, list[int]]], roots: set[int]) -> None:
    items = list({str(name): _item(str(name), *map(str, inputs)) for name, inputs in rows}.values())
    gone = set(_gone(items, {str(root) for root in roots}))
    kept = [item for item in items if item.digest not in gone]
    assert all(not gone & set(item.inputs) for item in kept)
    assert not gone & {str(root) for root in roots}


def _built(store: ArtifactStore, stage: str, inputs: Mapping[str, Input], text: str) -> Artifact:
    def build(_: Frozen, __: Mapping[str, Input], work: Workspace) -> None:
        (work.output / f"{stage}.json").write_text(text)

    return store.build(Stage(stage, 1, build), Frozen(), inputs)


def test_gc_keeps_the_champion_and_what_it_was_made_from_and_says_what_went(home: Path) -> None:
    store = ArtifactStore(home, SILENT)
    bundle = _built(store, "bundle", {}, "{}")
    corpus = _built(store, "corpus", {}, "{}")
    verdict = _built(store, "verdict", {"corpus": corpus}, json.dumps({"subject": {"bundle": bundle.digest}}))
    loser = _built(store, "verdict", {"corpus": corpus, "other": bundle}, json.dumps({"subject": {}}))
    stray = _built(store, "target", {"corpus": corpus}, "{}")
    ledger = open_ledger()
    facts = {"policy": "quick", "strictness": 10, "reason": "timbre run"}
    ledger.append(None, model="timbre-literary", kind="promote", version=1, verdict=verdict.digest, **facts)  # type: ignore[arg-type]
    ledger.close()

    command = ["gc", "--newest", "0", "--days", "0", "--json"]
    planned = json.loads(CliRunner().invoke(app, [*command, "--dry-run"]).output)
    assert planned["dry_run"] and stray.path.exists()
    done = json.loads(CliRunner().invoke(app, command).output)
    assert set(done["removed"]) == set(planned["removed"]) == {f"verdict/{loser.digest}", f"target/{stray.digest}"}
    assert done["kept"] == 3 and not stray.path.exists()
    assert all(Artifact.open(kept.path).digest == kept.digest for kept in (bundle, corpus, verdict))
    assert store.find("target", stray.manifest.key) is None, "what went is built again when it is asked for"
