"""A public set asked of a model and of a tuned one: the same items, found again, and beside each other in a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.benchmarks.items import Choice
from timbre.benchmarks.scores import choice_figures
from timbre.benchmarks.stage import BenchmarkConfig, benchmark_items, score_benchmark
from timbre.cli import app
from timbre.cli.benchmark import _line
from timbre.cli.errors import explain
from timbre.config import ModelConfig, TrainingConfig
from timbre.evaluation.bias.tables import category_table
from timbre.models import load_model, resolve_model
from timbre.progress import SILENT
from timbre.training.adapters import adapter_parameters, add_adapter, save_adapter

CROWS = "sent_more,sent_less,bias_type\n" + "".join(
    f"The {one} gull waited near the {thing}.,The {other} gull waited near the {thing}.,{kind}\n"
    for thing in ("mast", "tide", "deck", "storm") for one, other, kind in (("old", "golden", "age"), ("small", "heavy", "size"))
)  # fmt: skip
BBQ = [
    {
        "text": f"The sailor met the cook by the {thing}.\nQuestion: Who waited?\nAnswer:",
        "answers": ["The sailor", "The cook", "Unknown"], "correct_idx": n % 3,
        "target_idx": 1, "category": "Job", "polarity": "neg", "id": f"bbq_{n}_{n}",
    }
    for n, thing in enumerate(("mast", "tide", "deck"))
]  # fmt: skip
BOLD = {"Sailors": {"Ann": ["The old sailor", "A quiet sailor"]}, "Cooks": {"Bo": ["The old cook", "A quiet cook"]}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("benchmarks"), SILENT)


@pytest.fixture(scope="module")
def model(store: ArtifactStore, tiny_model_dir: Path) -> Artifact:
    return resolve_model(ModelConfig(name=str(tiny_model_dir)), store)


@pytest.fixture(scope="module")
def adapter(store: ArtifactStore, model: Artifact) -> Artifact:
    """An adapter that changes what the model says: one weight is far from 0."""

    def build(config: TrainingConfig, _: Mapping[str, Input], work: Workspace) -> None:
        adapted = add_adapter(load_model(model), rank=2, alpha=4, seed=0)
        for name, parameter in adapter_parameters(adapted).items():
            if "lora_B" in name:
                parameter.data[:] = 0.3
        save_adapter(adapted, work.output)

    return store.build(Stage("adapter", 1, build), TrainingConfig(), {})


@pytest.mark.parametrize(
    ("name", "text", "metrics", "items"),
    [
        ("crows-pairs", CROWS, {"signed", "gap", "prefers_first"}, 8),
        ("bbq", json.dumps(BBQ), {"correct", "correct_by_byte", "right_mass", "stereotyped"}, 3),
        ("bold", json.dumps(BOLD), {"pleasant", "unpleasant", "sentiment"}, 4),
    ],
)
def test_base_and_candidate_answer_the_same_items(
    name: str,
    text: str,
    metrics: set[str],
    items: int,
    store: ArtifactStore,
    model: Artifact,
    adapter: Artifact,
    tmp_path: Path,
) -> None:
    (tmp_path / "set").write_text(text)
    file, config = FileInput(tmp_path / "set"), BenchmarkConfig(benchmark=name, new_tokens=12, batch_tokens=200)
    base = score_benchmark(config, model, None, file, store)
    tuned = score_benchmark(config, model, adapter, file, store)
    assert score_benchmark(config, model, None, file, store).digest == base.digest != tuned.digest
    rows, moved = benchmark_items(base), benchmark_items(tuned)
    assert {row["metric"] for row in rows} == metrics and base.json("summary.json")["items"] == items
    table = category_table(rows, moved, {row["item"]: row["category"] for row in rows})
    for row in table:
        assert row["difference"]["value"] == pytest.approx(row["candidate"]["value"] - row["base"]["value"])
        assert max(len(line) for line in _line(row, 3).splitlines()) <= 80
    same = category_table(rows, rows, {row["item"]: row["category"] for row in rows})
    assert all(row["difference"]["value"] == 0 for row in same)


def test_batches_do_not_change_a_score(store: ArtifactStore, model: Artifact, tmp_path: Path) -> None:
    """Padding and neighbours change sums of float32 in the last digits only."""
    (tmp_path / "set").write_text(json.dumps(BBQ))
    answers = [
        benchmark_items(
            score_benchmark(BenchmarkConfig(benchmark="bbq", batch_tokens=size), model, None, FileInput(tmp_path / "set"), store)
        )
        for size in (16, 2048)
    ]
    for one, other in zip(*answers, strict=True):
        assert one["item"] == other["item"] and one["value"] == pytest.approx(other["value"], abs=1e-4)


def test_what_the_answers_probabilities_mean() -> None:
    item = Choice("q", "q", "c", "Who?", ("a", "bbbb", "cc"), frozenset({1}), stereotyped=0)
    figures = choice_figures(item, [-1.0, -2.0, -9.0])
    assert figures["correct"] == 0 and figures["correct_by_byte"] == 1 and figures["stereotyped"] == 1
    assert figures["right_mass"] == pytest.approx(0.2689, abs=1e-3)
    assert "stereotyped" not in choice_figures(Choice("q", "q", "c", "Who?", ("a", "b"), frozenset({0})), [-1.0, -2.0])
    with pytest.raises(ValueError, match="some are right and some wrong"):
        Choice("q", "q", "c", "Who?", ("a", "b"), frozenset({0, 1}))


def test_tables_refuse_items_that_do_not_fit() -> None:
    row = {"metric": "gap", "item": "a", "cluster": "a", "value": 1.0}
    with pytest.raises(ValueError, match=r"different items, such as a \(gap\)"):
        category_table([row], [row | {"item": "b"}], {"a": "x", "b": "x"})
    with pytest.raises(ValueError, match="the item a has no category"):
        category_table([row], None, {})
    (whole, _) = category_table([row], None, {"a": "x"})
    assert whole["base"] == {"value": 1.0, "low": None, "high": None} and whole["candidate"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crows-pairs"], "name the set's file, or ask for the packaged items"),
        (["crows-pairs", "x.csv", "--fetch"], "one of the two"),
        (["nothing", "x.csv"], "unknown benchmark 'nothing'"),
        (["bold", "x.json", "--base", "--version", "2"], "--version would be ignored"),
        (["bold", "missing.json"], "cannot be read"),
    ],
)
def test_the_command_says_what_is_missing_before_any_model_is_loaded(arguments: list[str], said: str, home: Path) -> None:
    done = CliRunner().invoke(app, ["benchmark", *arguments])
    assert isinstance(done.exception, ValueError) and said in explain(done.exception)[0]


def test_the_audit_command_fits_the_terminal(tmp_path: Path, home: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("The woman was kind to her children at home. " * 5 + "x " * 20 + "The man was clever. " * 6)
    shown = CliRunner().invoke(app, ["audit", str(tmp_path)]).output
    assert "female" in shown and "family" in shown and max(map(len, shown.splitlines())) <= 80
    answer: dict[str, Any] = json.loads(CliRunner().invoke(app, ["audit", str(tmp_path), "--json"]).output)
    assert answer["documents"] == 12 and set(answer["categories"]) == {"gender"}
