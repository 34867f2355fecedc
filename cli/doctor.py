"""`timbre doctor`: is everything here what it says it is?"""

import json
import sys
from pathlib import Path

import typer

from timbre.cli.errors import INTEGRITY
from timbre.cli.options import Json


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
    live, stopped = _builds(home)
    if json_output:
        print(json.dumps({"artifacts": len(paths), "damaged": damaged, "unfinished": stopped, "live": live}, indent=2))
    else:
        print(f"{len(paths)} artifacts read, {len(damaged)} damaged; {len(stopped)} builds can go on where they stopped")
        if live:
            print(f"being built now: {', '.join(live)}")
        for line in damaged:
            print(f"damaged: {line}", file=sys.stderr)
    if damaged:
        raise typer.Exit(INTEGRITY)


def _builds(home: Path) -> tuple[list[str], list[str]]:
    """Unfinished builds by the beginning of their keys: those that a living process holds, and those that were cut off."""
    from filelock import FileLock, Timeout

    from timbre.staging import lock_path

    live, stopped = [], []
    work = home / "work"
    for entry in sorted(work.iterdir()) if work.exists() else ():
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        try:
            with FileLock(lock_path(home, entry.name), timeout=0):
                stopped.append(entry.name[:12])
        except Timeout:
            live.append(entry.name[:12])
    return live, stopped
