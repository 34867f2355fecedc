"""What somebody sees who opens a candidate in MLflow."""

import json
from pathlib import Path

import pytest

from timbre.settings import Settings
from timbre.tasks.stores.mlflow import MlflowStore
from timbre.tasks.stores.run_page import KIND, NOTE, SAMPLES, DataInput, RunPage


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MlflowStore:
    return MlflowStore.open(Settings(home=tmp_path_factory.mktemp("home")))


PAGE = RunPage(
    note="tiny in the style **sea**.",
    parameters={"style": "sea", "seed": 3},
    metrics={"base/nll": 4.2, "candidate/nll": 3.9},
    tags={"outcome": "PASS", "bundle": "b" * 12},
    inputs=[DataInput("corpus/sea", "c" * 64, "evaluation", {"kept": 20}), DataInput("target/sea", "t" * 64, "training", {"tokens": 9})],
    samples=[{"prompt": "The sea", "base": "is a place.", "candidate": "lay grey.", "human": "was quiet."}],
)


def test_a_run_shows_words_figures_of_both_models_data_and_samples(store: MlflowStore, tmp_path: Path) -> None:
    run = store.run_for("k", "sea", "sea-quick", {"profile": "quick"})
    for _ in range(2):  # a run that was cut off in between writes it again, and nothing is doubled
        store.show(run, PAGE)
    client = store._client
    seen = client.get_run(run)
    assert seen.data.tags[NOTE] == PAGE.note and seen.data.tags["bundle"] == "b" * 12
    assert seen.data.params == {"profile": "quick", "style": "sea", "seed": "3"}
    assert (seen.data.metrics["base/nll"], seen.data.metrics["candidate/nll"]) == (4.2, 3.9)
    inputs = {item.dataset.name: item for item in seen.inputs.dataset_inputs}
    assert len(seen.inputs.dataset_inputs) == 2 and inputs["target/sea"].tags[0].value == "training"
    assert json.loads(inputs["corpus/sea"].dataset.source) == {"artifact": "c" * 64}
    table = json.loads(Path(client.download_artifacts(run, SAMPLES, str(tmp_path))).read_text())
    assert sorted(table["columns"]) == ["base", "candidate", "human", "prompt"] and len(table["data"]) == 1


def test_an_experiment_says_what_kind_it_is(store: MlflowStore) -> None:
    store.run_for("k2", "sea", "one", {})
    experiment = store._client.get_experiment_by_name("timbre-sea")
    assert experiment is not None and experiment.tags[KIND] == "custom_model_development" and "**sea**" in experiment.tags[NOTE]
