"""Students by the release's own training, with the weights of their best look and of their last step, kept step by step.

A student that was cut short goes on at its last checkpoint; finished ones are found in the trial's store, `<home>/benchmarks/<trial>`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from benchmarks.recipes import Recipe, Size
from benchmarks.trial import Trial
from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import Frozen, TrainingConfig, release_config
from timbre.settings import settings

State = Literal["best", "last"]
WEIGHTS = "adapter/"


class Kept(Frozen):
    """Which weights of a student."""

    state: State


def trial(name: str, style: str, size: Size, seed: int, overrides: Mapping[str, Any] | None = None) -> Trial:
    """Model and corpus of a style, at one size and seed; texts and models come from packages that `make setup` fetches.

    Args:
        name: of the trial, whose store is a folder of that name.
        overrides: of the release's configuration, as {"corpus.folds": 4}.
    """
    from timbre import pipeline

    config, ours = release_config(style, overrides=dict(overrides or {})), ArtifactStore(settings().home)
    built = {each: pipeline.build(each, config, ours, {}) for each in ("model", "corpus")}
    store = ArtifactStore(settings().home / "benchmarks" / name)
    return Trial(size, built["model"], built["corpus"], settings().root / "data" / "replay" / "replay.jsonl", store, seed)


def student(place: Trial, recipe: Recipe) -> Artifact:
    """Found or trained: best/, last/, curve.jsonl, summary.json.

    Raises:
        TargetRefused: the reference of these passages is no better than the base on validation documents.
    """
    inputs: dict[str, Input] = {
        "target": place.target(recipe), "corpus": place.corpus, "model": place.model, "replay": FileInput(place.replay)
    }  # fmt: skip
    return place.store.build(_STUDENT, place.size.training(recipe, place.seed, place.folds), inputs)


def state_of(place: Trial, trained: Artifact, state: State) -> Artifact:
    """The student at its best look or after its last step, as an adapter that everything else reads."""
    return place.store.build(_STATE, Kept(state=state), {"student": trained})


def curve(trained: Artifact) -> list[tuple[float, float]]:
    """(epochs, held-out NLL in nats a token on validation documents) of every look."""
    rows, epochs = trained.json_lines("curve.jsonl"), int(trained.manifest.config["epochs"])
    return [(round(epochs * row["step"] / row["steps"], 2), round(row["held_out_nll"], 5)) for row in rows if "held_out_nll" in row]


def best_look(trained: Artifact) -> tuple[float, float]:
    """(epochs, NLL) of the look that found validation documents likeliest."""
    return min(curve(trained), key=lambda look: look[1])


def _build_student(config: TrainingConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.training.adapters import put_parameters, save_adapter
    from timbre.training.stage import train_on, write_records

    result, summary = train_on(config, inputs, workspace.scratch, workspace.progress)
    save_adapter(result.model, workspace.output / "best")
    put_parameters(result.model, _after_last_step(workspace.scratch / "checkpoints", summary["steps"]))
    save_adapter(result.model, workspace.output / "last")
    write_records(result, summary, workspace.output)


def _after_last_step(checkpoints: Path, steps: int) -> dict[str, Any]:
    """The weights of the last checkpoint, which training writes after its last step."""
    from safetensors.torch import load_file

    newest = max(checkpoints.glob("step-*.safetensors"))
    if int(newest.name.split("-")[1]) != steps:
        raise ValueError(f"{newest.name} is not of the last step {steps}: remove {checkpoints} and train again")
    return {name.removeprefix(WEIGHTS): value for name, value in load_file(newest).items() if name.startswith(WEIGHTS)}


def _build_state(config: Kept, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    trained = inputs["student"]
    assert isinstance(trained, Artifact)
    for name in trained.manifest.files:
        folder, _, file = name.rpartition("/")
        if folder == config.state or name == "summary.json":
            (workspace.output / (file or name)).write_bytes(trained.file(name).read_bytes())


_STUDENT: Stage[TrainingConfig] = Stage("trial-student", 1, _build_student, runs_model=True)
_STATE: Stage[Kept] = Stage("trial-adapter", 1, _build_state)
