"""`timbre stage VERB`: one step at a time, from what stands in the artifact store; `dvc.yaml` calls corpus and target.

The verbs and their help come from the table of steps.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timbre.cli.errors import GATE_FAIL, INCONCLUSIVE
from timbre.cli.options import Chosen, Json, names_a_release, read_release, refuse_beside
from timbre.cli.terminal import WholeHelp
from timbre.pipeline import STEP, STEPS

if TYPE_CHECKING:
    from timbre.config import ReleaseConfig
    from timbre.flows.release import Outcome

app = typer.Typer(cls=WholeHelp, no_args_is_help=True, help="Build one stage.", rich_markup_mode=None)

Params = Annotated[Path, typer.Option(help="The parameter file, with a `styles` section.")]
StyleName = Annotated[str, typer.Option(help="A style of the parameter file.")]
Config = Annotated[Path | None, typer.Option(help="A release as JSON, instead of the options above.")]
Out = Annotated[Path, typer.Option(help="Folder where the artifact is laid; replaced if it exists.")]


@app.callback()
def _stage() -> None:
    """Build one stage."""


@app.command(help=STEP["corpus"].help)
def corpus(style: StyleName, out: Out, params: Params = Path("params.yaml"), json_output: Json = False) -> None:
    """Build a style's corpus."""
    from timbre.tasks.stages import run_corpus_stage

    _say("corpus", run_corpus_stage(params, style, out).digest, out, json_output)


@app.command(help=STEP["target"].help)
def target(
    style: StyleName,
    out: Out,
    corpus: Annotated[Path, typer.Option(help="The corpus, as the corpus stage laid it.")],
    params: Params = Path("params.yaml"),
    json_output: Json = False,
) -> None:
    """Build a style's target distributions."""
    from timbre.tasks.stages import run_target_stage

    _say("target", run_target_stage(params, style, corpus, out).digest, out, json_output)


def _say(stage: str, digest: str, out: Path, json_output: bool) -> None:
    print(json.dumps({"stage": stage, "digest": digest, "path": str(out)}) if json_output else digest)


_RELEASE = """Register the judged bundle and, if it passed, promote it.

The last step of `timbre run`, by the same code, with the same exit codes. All steps before it must stand; a verdict that
was published before changes nothing.
"""


def _command(act: Callable[["ReleaseConfig", bool], int]) -> Callable[..., None]:
    """A command that does `act` with the release that its options describe, and ends with the exit code that this gives."""

    @names_a_release
    def command(
        context: typer.Context,
        chosen: Chosen,
        config: Config = None,
        json_output: Json = False,
    ) -> None:
        from timbre.settings import settings as environment
        from timbre.tasks.environment import prepare

        if config is not None:
            refuse_beside(context, "config", "json_output")
        prepare(environment())
        raise typer.Exit(act(read_release(config) if config else chosen.release(), json_output))

    return command


def _build(step: str, config: "ReleaseConfig", json_output: bool) -> int:
    from timbre import pipeline
    from timbre.tasks.context import open_store, record_verdict

    store = open_store()
    artifact = pipeline.build(step, config, store, pipeline.find(config, store, crashed=True))
    if step == "verdict":
        record_verdict(config.style, config.model, artifact)
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
    from timbre import pipeline
    from timbre.flows.release import Outcome
    from timbre.tasks.context import open_store
    from timbre.tasks.data import DATA, data_tags
    from timbre.tasks.latest import link_pages
    from timbre.tasks.release import publish_candidate
    from timbre.tasks.stage import Built

    found = pipeline.find(config, open_store(), crashed=True)
    if missing := [step for step in pipeline.steps_of(config) if step.name not in found]:
        first = missing[0].name
        raise ValueError(f"release needs the {first} first: `{pipeline.command_of(first)} --style {config.style}` builds it")
    steps = {name: Built(step=name, digest=artifact.digest, cached=True, seconds=0.0) for name, artifact in found.items()}
    released = publish_candidate(config, steps, data_tags(config, *(steps[name] for name in DATA if name in steps)))
    link_pages(config.style, steps, released)
    return Outcome(steps=steps, released=released)


for _step in STEPS:
    if not _step.versioned:
        app.command(_step.verb, help=_step.help)(_command(partial(_build, _step.name)))
app.command("release", help=_RELEASE)(_command(_release))
