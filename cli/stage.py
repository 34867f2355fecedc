"""`timbre stage`: one stage at a time; `dvc.yaml` calls corpus and target."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Build one stage.", rich_markup_mode=None)

Params = Annotated[Path, typer.Option(help="The parameter file, with a `styles` section.")]
StyleName = Annotated[str, typer.Option(help="A style of the parameter file.")]
Out = Annotated[Path, typer.Option(help="Folder where the artifact is laid; replaced if it exists.")]


@app.callback()
def _stage() -> None:
    """Build one stage."""


@app.command()
def corpus(style: StyleName, out: Out, params: Params = Path("params.yaml")) -> None:
    """Build a style's corpus."""
    from tasks.stages import run_corpus_stage

    print(run_corpus_stage(params, style, out).digest)


@app.command()
def target(
    style: StyleName,
    out: Out,
    corpus: Annotated[Path, typer.Option(help="The corpus, as the corpus stage laid it.")],
    params: Params = Path("params.yaml"),
) -> None:
    """Build a style's target distributions."""
    from tasks.stages import run_target_stage

    print(run_target_stage(params, style, corpus, out).digest)
