"""`timbre doctor`: is everything here what it says it is?"""

import json
import sys

import typer

from cli.errors import INTEGRITY
from cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("doctor")(doctor)


def doctor(json_output: Json = False) -> None:
    """Hash every artifact again, and say what is damaged, half-built, or in the way."""
    from timbre.artifacts import Artifact, ArtifactStore, IntegrityError
    from timbre.settings import settings

    home = settings().home
    damaged: list[str] = []
    paths = ArtifactStore(home).all()
    for path in paths:
        try:
            Artifact.open(path)
        except IntegrityError as error:
            damaged.append(str(error))
    work = home / "work"
    unfinished = (
        sorted(entry.name[:12] for entry in work.iterdir() if entry.is_dir() and not entry.name.startswith(".")) if work.exists() else []
    )
    if json_output:
        print(json.dumps({"artifacts": len(paths), "damaged": damaged, "unfinished": unfinished}, indent=2))
    else:
        print(f"{len(paths)} artifacts read, {len(damaged)} damaged; {len(unfinished)} builds can go on where they stopped")
        for line in damaged:
            print(f"damaged: {line}", file=sys.stderr)
    if damaged:
        raise typer.Exit(INTEGRITY)
