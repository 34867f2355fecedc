"""`timbre backup` and `timbre restore`: a home in one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="The tar file to write, outside of the home.")],
    json_output: Json = False,
) -> None:
    """Save this home: artifacts, ledger, MLflow, data registry and remote, your sources. No run may go on meanwhile."""
    from timbre.tasks.backup import back_up

    saved = back_up(file)
    if json_output:
        print(saved.model_dump_json(exclude={"files", "links"}))
        return
    print(f"{len(saved.files)} files saved to {file}, {file.stat().st_size / 2**20:,.0f} MiB")
    if saved.elsewhere:
        print(f"not in it, for they lie elsewhere and have backups of their own: {', '.join(saved.elsewhere)}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `timbre backup` wrote.")],
    json_output: Json = False,
) -> None:
    """Put a saved home where TIMBRE_HOME says, verified file by file; a home that is not empty is refused."""
    from timbre.settings import settings
    from timbre.tasks.backup import restore as put_back

    saved = put_back(file)
    if json_output:
        print(saved.model_dump_json(exclude={"files", "links"}))
        return
    print(f"{len(saved.files)} files of {saved.at:%Y-%m-%d %H:%M} UTC restored to {settings().home}; next: timbre status")
