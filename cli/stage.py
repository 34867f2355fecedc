"""`timbre stage`: one stage at a time; `dvc.yaml` calls corpus and target."""

import json
from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Build one stage.", rich_markup_mode=None)

Params = Annotated[Path, typer.Option(help="The parameter file, with a `styles` section.")]
StyleName = Annotated[str, typer.Option(help="A style of the parameter file.")]
Out = Annotated[Path, typer.Option(help="Folder where the artifact is laid; replaced if it exists.")]


@app.callback()
def _stage() -> None:
    """Build one stage."""


@app.command()
def corpus(style: StyleName, out: Out, params: Params = Path("params.yaml"), json_output: Json = False) -> None:
    """Build a style's corpus."""
    from timbre.tasks.stages import run_corpus_stage

    _say("corpus", run_corpus_stage(params, style, out).digest, out, json_output)


@app.command()
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
