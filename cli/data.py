"""`timbre target`: looking into target distributions."""

from typing import Annotated

import typer

from cli.options import DEFAULT_MODEL, Json, Model, Profile, Seed, Set, Style, resolve

app = typer.Typer(no_args_is_help=True, help="Look into target distributions.", rich_markup_mode=None)


@app.callback()
def _target() -> None:
    """Look into target distributions."""


@app.command()
def inspect(
    style: Style = "literary",
    profile: Profile = "quick",
    seed: Seed = 1,
    model: Model = DEFAULT_MODEL,
    settings: Set = [],  # noqa: B006
    passage: Annotated[int, typer.Option(min=0, help="Which passage, from 0.")] = 0,
    json_output: Json = False,
) -> None:
    """Show a passage token by token: what was written, what else the target allows, and how many choices that is."""
    import json
    from dataclasses import asdict

    from timbre import road
    from timbre.artifacts import ArtifactStore
    from timbre.settings import settings as environment

    built = road.find(resolve(style, profile, seed, model, settings), ArtifactStore(environment().home))
    if "target" not in built:
        raise ValueError(f"no target for these settings yet: `timbre run --style {style}` builds it")
    from timbre.targets.inspect import inspect_passage, passage_table

    view = inspect_passage(built["target"], built["model"], passage)
    if json_output:
        print(json.dumps(asdict(view)))
        return
    from rich.console import Console

    Console(highlight=False).print(passage_table(view))
