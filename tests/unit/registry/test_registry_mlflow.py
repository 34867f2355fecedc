"""MLflow as the registry: nothing is doubled, nothing is missed, and a version that is gone is said, not stumbled over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from timbre.settings import Settings
from timbre.tasks.stores import mlflow
from timbre.tasks.stores.mlflow import MlflowStore

TAGS = {"timbre.verdict": "v" * 64, "timbre.bundle": "b" * 64}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One home for the file: making MLflow's database takes seconds."""
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def store(settings: Settings) -> MlflowStore:
    return MlflowStore.open(settings)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.onnx").write_text("x")
    return tmp_path / "bundle"


class Blind:
    """A client whose first search finds nothing: what one of two processes sees when both begin at once."""

    def __init__(self, client: Any, search: str) -> None:
        self._client, self._search, self._looked = client, search, False

    def __getattr__(self, name: str) -> Any:
        if name == self._search and not self._looked:
            self._looked = True
            from mlflow.store.entities.paged_list import PagedList

            return lambda *_, **__: PagedList([], None)
        return getattr(self._client, name)


def test_two_runs_of_one_adapter_begun_at_once_are_one(store: MlflowStore) -> None:
    first = store.run_for("k1", "race", "one", {})
    late = MlflowStore(Blind(store._client, "search_runs"), None)  # type: ignore[arg-type]
    assert late.run_for("k1", "race", "two", {"a": 1}) == first
    assert store.run_for("k1", "race", "three", {}) == first


def test_one_verdict_registered_twice_at_once_is_one_version(store: MlflowStore, bundle: Path) -> None:
    run = store.run_for("k2", "race", "one", {})
    first = store.register("timbre-race", bundle, TAGS | {"timbre.run": run})
    late = MlflowStore(Blind(store._client, "search_model_versions"), None)  # type: ignore[arg-type]
    assert late.register("timbre-race", bundle, TAGS | {"timbre.run": run}).number == first.number == 1
    assert [version.number for version in store.versions("timbre-race")] == [1]


def test_a_version_links_its_report_wherever_mlflow_is_served(store: MlflowStore, bundle: Path) -> None:
    run = store.run_for("k-linked", "linked", "one", {})
    version = store.register("timbre-linked", bundle, TAGS | {"timbre.run": run})
    store.describe(version, "tiny in the style **sea**.")
    said = store._client.get_model_version("timbre-linked", str(version.number)).description
    place = store.links(version, "http://mlflow:5000")["report"].removeprefix("http://mlflow:5000/")
    assert said == f"tiny in the style **sea**.\n\n[The report]({place})" and place.startswith("#/experiments/")


def test_models_and_versions_beyond_the_first_page_are_seen(store: MlflowStore, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "_PAGE", 1)
    run = store.run_for("k3", "pages", "one", {})
    for style in ("pages-a", "pages-b", "pages-c"):
        store.register(f"timbre-{style}", bundle, TAGS | {"timbre.run": run})
    store.register("timbre-pages-a", bundle, {"timbre.verdict": "w" * 64, "timbre.bundle": "c" * 64, "timbre.run": run})
    assert {"timbre-pages-a", "timbre-pages-b", "timbre-pages-c"} <= set(store.models())
    assert [version.number for version in store.versions("timbre-pages-a")] == [1, 2]


def test_a_version_that_somebody_else_registered_is_passed_over(store: MlflowStore, bundle: Path) -> None:
    """By hand, on MLflow's page, or by another tool: without a tag of Timbre, or with a part of them."""
    run = store.run_for("k6", "foreign", "one", {})
    source = f"{store._client.get_run(run).info.artifact_uri}/elsewhere"
    store._client.create_registered_model("timbre-foreign")
    store._client.create_model_version("timbre-foreign", source, run_id=run)
    store._client.create_model_version("timbre-foreign", source, run_id=run, tags={"timbre.verdict": "x", "owner": "someone"})
    assert (store.versions("timbre-foreign"), store.foreign("timbre-foreign")) == ([], [1, 2])
    ours = store.register("timbre-foreign", bundle, TAGS | {"timbre.run": run})
    assert [version.number for version in store.versions("timbre-foreign")] == [ours.number] == [3]
    assert store.register("timbre-foreign", bundle, TAGS | {"timbre.run": run}).number == 3
    assert (ours.bundle, ours.verdict) == (TAGS["timbre.bundle"], TAGS["timbre.verdict"])


@pytest.fixture
def shared(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`settings()` is the home of this file."""
    from timbre.settings import settings as current

    monkeypatch.setenv("TIMBRE_HOME", str(settings.home))
    current.cache_clear()
    yield
    current.cache_clear()


@pytest.mark.usefixtures("shared")
def test_status_goes_on_and_says_it_when_a_champion_is_gone_from_the_registry(store: MlflowStore, bundle: Path) -> None:
    from timbre.tasks.context import open_ledger
    from timbre.tasks.overview import models, transitions

    ledger, run = open_ledger(), store.run_for("k4", "gone", "one", {})
    facts: dict[str, Any] = {"kind": "promote", "verdict": "v" * 64, "policy": "quick", "strictness": 1, "reason": "x"}
    for name in ("timbre-gone", "timbre-here"):
        store.register(name, bundle, TAGS | {"timbre.run": run})
        ledger.append(None, model=name, version=1, **facts)
    ledger.close()
    store._client.delete_registered_model("timbre-gone")
    rows = {row["model"]: row for row in models()}
    assert rows["timbre-gone"]["problem"] == (
        "timbre-gone v1 is champion in the ledger but gone from the registry: restore it, roll back, or promote another"
    )
    assert (rows["timbre-here"]["champion"], rows["timbre-here"]["problem"]) == (1, None)
    assert store.versions("timbre-here")[0].aliases == ("champion",)
    assert {row["model"] for row in transitions(None)} == {"timbre-gone", "timbre-here"}


@pytest.mark.usefixtures("shared")
def test_status_promotion_and_rollback_take_no_notice_of_a_foreign_version(store: MlflowStore, bundle: Path) -> None:
    from timbre.registry.promotion import promote, repair, rollback
    from timbre.tasks.bundles import find_version
    from timbre.tasks.context import open_ledger, open_store
    from timbre.tasks.overview import models

    run, ledger, name = store.run_for("k7", "beside", "one", {}), open_ledger(), "timbre-beside"
    store.register(name, bundle, TAGS | {"timbre.run": run})
    theirs = store._client.create_model_version(name, f"{store._client.get_run(run).info.artifact_uri}/elsewhere", run_id=run)
    store.set_alias(name, "champion", int(theirs.version))
    facts: dict[str, Any] = {"kind": "promote", "verdict": "v" * 64, "policy": "quick", "strictness": 1, "reason": "x"}
    ledger.append(None, model=name, version=1, **facts)
    row = next(row for row in models() if row["model"] == name)
    assert (row["champion"], row["versions"], row["problem"]) == (1, [1], None)
    repair(name, store, ledger)
    assert store.versions(name)[0].aliases == ("champion",), "the ledger says who is champion"
    with pytest.raises(ValueError, match=r"timbre-beside v2 was not registered by Timbre .*Timbre's: v1"):
        find_version(name, 2)
    with pytest.raises(ValueError, match=r"has no version 3; registered: v1"):
        find_version(name, 3)
    ledger.append(ledger.latest(name), model=name, version=2, **facts)
    ledger.append(ledger.latest(name), model=name, version=1, **facts)
    with pytest.raises(ValueError, match="is gone from the registry, so nothing was rolled back"):
        rollback(name, store, ledger, open_store(), reason="x")
    with pytest.raises(ValueError, match="no verdict artifact"):
        promote(store.versions(name)[0], store, ledger, open_store(), reason="x")
    ledger.close()


def test_a_curve_cut_off_by_a_kill_is_completed_and_never_doubled(
    store: MlflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from timbre.tasks.training import complete_curve

    rows = [
        {"step": step, "tokens": 64 * step, "loss": 1 / step, "replay_loss": 1.0} | ({"held_out_nll": 2.0} if step % 4 == 0 else {})
        for step in range(1, 9)
    ]

    class Adapter:
        def file(self, name: str) -> Path:
            path = tmp_path / name
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            return path

    run = store.run_for("k5", "curves", "one", {})
    monkeypatch.setattr(mlflow, "_BATCH", 8)  # the third row would be cut in two
    store.log_curve(run, rows[:4])
    for _ in range(2):
        complete_curve(store, run, Adapter())  # type: ignore[arg-type]
    history = {name: store._client.get_metric_history(run, f"training/{name}") for name in ("loss", "replay_loss", "held_out_nll")}
    assert [metric.step for metric in history["loss"]] == [metric.step for metric in history["replay_loss"]] == list(range(1, 9))
    assert [metric.step for metric in history["held_out_nll"]] == [4, 8]
