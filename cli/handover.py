"""`timbre handout`: what another team takes from the data registry."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from timbre.cli.options import Json, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("handout")(handout)


def handout(
    what: Annotated[Literal["corpus", "target"], typer.Argument(help="corpus: the documents; target: the distributions.")],
    style: Style = "literary",
    version: Annotated[int | None, typer.Option(min=1, help="Its number; the newest if not given.")] = None,
    datasheet: Annotated[Path | None, typer.Option(help="Write the datasheet (Markdown) to this file.")] = None,
    json_output: Json = False,
) -> None:
    """Show how another repository takes a version of a corpus or target by DVC, with its datasheet. Changes nothing.

    timbre handout corpus --style literary --datasheet literary.md
    """
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.handover import hand_out, write_datasheet

    handed = hand_out(what, style, version)
    if datasheet is not None:
        write_datasheet(handed, datasheet)
    if json_output:
        print(handed.model_dump_json(indent=2))
        return
    print(f"{handed.revision}, digest {handed.digest[:12]}")
    for command in handed.commands:
        print(f"  {command}")
    print(f"datasheet {datasheet}" if datasheet is not None else f"\n{handed.datasheet}")
