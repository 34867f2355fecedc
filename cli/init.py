"""`timbre init`: a project of one's own, as configuration."""

import json
from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import Json

_FILES = ("params.yaml", "dvc.yaml", "prefect.yaml")
_FOLDERS = ("data/sources", "data/styles", "mlflow/policies")
_IGNORED = ".timbre/\n"


def register(app: typer.Typer) -> None:
    """Mount the command of this file."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it does not exist.")],
    json_output: Json = False,
) -> None:
    """Write a project's configuration: parameters, stages, deployments, gate policies, sources and styles; no code.

    Commands typed in that folder, or below it, read these files and keep what they build in its .timbre. What a project
    does not have (probes, prompts, replay items) is read as it ships. Existing files stay as they are.

    \b
    timbre init letters && cd letters
    timbre corpus add ~/letters --style letters --author "A. Writer" --licence "own work"
    timbre run --style letters
    """
    written, kept = _write(folder)
    if json_output:
        print(json.dumps({"project": str(folder.absolute()), "written": written, "kept": kept}))
        return
    print(f"{folder}: wrote {len(written)} files" + (f", kept {len(kept)} that were there already" if kept else ""))
    print(f"next: cd {folder} && timbre run --style literary --dry-run")


def _write(folder: Path) -> tuple[list[str], list[str]]:
    """The names of what was written and of what stood there, sorted.

    Raises:
        ValueError: the folder is a file.
    """
    from timbre.settings import PACKAGED

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder")
    shipped = [PACKAGED / name for name in _FILES] + [path for name in _FOLDERS for path in sorted((PACKAGED / name).iterdir())]
    texts = {path.relative_to(PACKAGED).as_posix(): path.read_bytes() for path in shipped} | {".gitignore": _IGNORED.encode()}
    written, kept = [], []
    for name, text in sorted(texts.items()):
        path = folder / name
        if path.exists():
            kept.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        written.append(name)
    return written, kept
