"""`timbre stage train|evaluate|…|release`: the steps after the data, one at a time, from what stands in the artifact store."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timbre.cli.errors import GATE_FAIL, INCONCLUSIVE
from timbre.cli.options import DEFAULT_MODEL, Json, Model, Profile, Seed, Set, Style, read_release, refuse_beside, resolve

if TYPE_CHECKING:
    from timbre.config import ReleaseConfig
    from timbre.flows.release import Outcome

Config = Annotated[Path | None, typer.Option(help="A release as JSON, instead of the options above.")]

_VERBS = {
    "model": ("model", "Fetch and convert the base model."),
    "train": ("adapter", "Train the adapter; a killed run goes on at its last checkpoint."),
    "prompts": ("prompts", "Freeze what every model is asked to write."),
    "calibrate": ("calibration", "The base writes what the style score is calibrated by."),
    "write-base": ("base_generations", "The base writes, and scores human text and probes."),
    "recite-base": ("base_recitations", "The base goes on from passages of the training plan."),
    "evaluate-base": ("base_evaluation", "Measure what the untuned base model wrote."),
    "write": ("generations", "The candidate writes, recites and scores."),
    "evaluate": ("evaluation", "Measure what the candidate wrote."),
    "train-baseline": ("baseline_adapter", "Train the baseline, where the release has one."),
    "write-baseline": ("baseline_generations", "The baseline writes, recites and scores."),
    "evaluate-baseline": ("baseline_evaluation", "Measure what the baseline wrote."),
    "trace": ("decoder", "Trace the base model's ONNX graph, once for all its adapters."),
    "export": ("bundle", "Merge, write the ONNX bundle, and check parity."),
    "gate": ("verdict", "Judge the evidence under the policy."),
}
_RELEASE = """Register the judged bundle and, if it passed, promote it.

The last step of `timbre run`, by the same code, with the same exit codes. All steps before it must stand; a verdict that
was published before changes nothing.
"""


def register(app: typer.Typer) -> None:
    """Mount one command a step, and the release."""
    for verb, (step, text) in _VERBS.items():
        app.command(verb, help=text)(_command(partial(_build, step)))
    app.command("release", help=_RELEASE)(_command(_release))


def _command(act: Callable[["ReleaseConfig", bool], int]) -> Callable[..., None]:
    """A command that does `act` with the release that its options describe, and ends with the exit code that this gives."""

    def command(
        context: typer.Context,
        style: Style = "literary",
        profile: Profile = "quick",
        seed: Seed = 1,
        model: Model = DEFAULT_MODEL,
        settings: Set = [],  # noqa: B006
        config: Config = None,
        json_output: Json = False,
    ) -> None:
        from timbre.settings import settings as environment
        from timbre.tasks.environment import prepare

        if config is not None:
            refuse_beside(context, "config", "json_output")
        prepare(environment())
        raise typer.Exit(act(read_release(config) if config else resolve(style, profile, seed, model, settings), json_output))

    return command


def _build(step: str, config: "ReleaseConfig", json_output: bool) -> int:
    from timbre import road
    from timbre.tasks.context import open_store

    store = open_store()
    artifact = road.build(step, config, store, road.find(config, store, crashed=True))
    answer = {"stage": step, "digest": artifact.digest, "path": str(artifact.path), "cached": artifact.cached}
    print(json.dumps(answer) if json_output else artifact.digest)
    if step != "verdict":
        return 0
    return {"PASS": 0, "FAIL": GATE_FAIL}.get(artifact.json("verdict.json")["verdict"], INCONCLUSIVE)


def _release(config: "ReleaseConfig", json_output: bool) -> int:
    from timbre.cli.summary import as_json, exit_code, print_release

    outcome = _publish(config)
    if json_output:
        print(json.dumps(as_json(outcome), indent=2))
    else:
        print_release(config, outcome)
    return exit_code(config, outcome.released)


def _publish(config: "ReleaseConfig") -> "Outcome":
    """What stands of this release, published.

    Raises:
        ValueError: a step is missing; the sentence says which, and how to build it.
    """
    from timbre import road
    from timbre.flows.release import Outcome
    from timbre.tasks.context import open_store
    from timbre.tasks.data import data_tags
    from timbre.tasks.release import publish_candidate
    from timbre.tasks.stage import Built

    found = road.find(config, open_store(), crashed=True)
    if missing := [step for step in road.steps_of(config) if step.name not in found]:
        first = missing[0].name
        raise ValueError(f"release needs the {first} first: `{road.command_of(first)} --style {config.style}` builds it")
    steps = {name: Built(step=name, digest=artifact.digest, cached=True, seconds=0.0) for name, artifact in found.items()}
    return Outcome(steps=steps, released=publish_candidate(config, steps, data_tags(config, steps["corpus"], steps["target"])))
