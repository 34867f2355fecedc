"""`timbre doctor`: is everything here what it says it is?"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from timbre.cli.errors import INTEGRITY
from timbre.cli.options import Json

if TYPE_CHECKING:
    from timbre.artifacts import Artifact
    from timbre.registry.chain import Checked


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("doctor")(doctor)


def doctor(json_output: Json = False) -> None:
    """Hash every artifact and every object of the data remote, and follow the ledger's chain: what is damaged, half-built or to mend.

    Says what this machine has, and mends a home that was moved.
    """
    from timbre.artifacts import Artifact, ArtifactStore, IntegrityError
    from timbre.settings import settings

    home = settings().home
    machine, moved = _machine(home), _mended(home)
    damaged: list[str] = []
    others: list[dict[str, Any]] = []
    paths = ArtifactStore(home).all()
    for path in paths:
        try:
            artifact = Artifact.open(path)
        except IntegrityError as error:
            damaged.append(str(error))
        else:
            others += _other_versions(artifact)
    live, stopped = _builds(home)
    chains = _chains()
    damaged += [f"ledger: {sentence}" for chain in chains.values() for sentence in chain.wrong]
    to_mend = _to_mend()
    if json_output:
        ledger = {name: {"rows": chain.rows, "unchained": chain.unchained, "last": chain.last} for name, chain in chains.items()}
        found = machine | {
            "moved_from": moved,
            "artifacts": len(paths),
            "damaged": damaged,
            "unfinished": stopped,
            "live": live,
            "other_versions": others,
            "ledger": ledger,
            "to_mend": to_mend,
        }
        print(json.dumps(found, indent=2))
    else:
        libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
        print(f"timbre {machine['timbre']}, Python {machine['python']}; {libraries}")
        print(f"{machine['cores']} cores; {machine['device']}; {machine['disk_free_gb']:.1f} GB free on the disk of {home}")
        if moved:
            print(f"this home was at {moved}: its places were brought along, and nothing is written there")
        print(f"{len(paths)} artifacts read, {len(damaged)} damaged; {len(stopped)} builds can go on where they stopped")
        if live:
            print(f"being built now: {', '.join(live)}")
        _show_others(others)
        for name, chain in chains.items():
            said = f"chained, the last link is {chain.last[:16]}" if chain.last else "from before rows were chained"
            counted = name.replace("s of ", " of ", 1) if chain.rows == 1 else name
            print(f"ledger: {chain.rows} {counted}, {said}")
        for line in to_mend:
            print(f"to mend: {line}", file=sys.stderr)
        for line in damaged:
            print(f"damaged: {line}", file=sys.stderr)
    if damaged:
        raise typer.Exit(INTEGRITY)


def _to_mend() -> list[str]:
    """Disk, the ledger's columns, the objects of the data remote."""
    from timbre.tasks.health import findings

    return findings()


def _chains() -> "dict[str, Checked]":
    """The ledger's rows against the links that were written with them; nothing where there is no ledger yet."""
    from contextlib import closing

    from timbre.registry.ledger import Ledger
    from timbre.settings import settings

    url = settings().ledger
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return {}
    with closing(Ledger(url)) as ledger:
        return ledger.check()


def _machine(home: Path) -> dict[str, Any]:
    """Versions, cores, free disk, and where and in which numbers models run here."""
    import os
    import platform
    import shutil

    from timbre import __version__
    from timbre.precision import precision
    from timbre.versions import versions

    try:
        device = precision().sentence()
    except (ValueError, ModuleNotFoundError) as error:  # of a device that there is not, or without torch
        device = str(error)
    there = next(folder for folder in (home, *home.resolve().parents) if folder.exists())
    return {
        "timbre": __version__, "python": platform.python_version(), "libraries": dict(versions()), "cores": os.cpu_count(),
        "device": device, "disk_free_gb": round(shutil.disk_usage(there).free / 1e9, 1), "home": str(home),
    }  # fmt: skip


def _mended(home: Path) -> str | None:
    """Where this home was before, if it was moved or copied; its places are brought along, and a server of the old one forgotten."""
    from timbre.settings import settings
    from timbre.tasks.environment import server_file
    from timbre.tasks.health import bring_registry_along
    from timbre.tasks.stores.relocation import relocate

    old = relocate(home / "mlflow.db", home) if settings().mlflow_tracking_uri is None else None
    old = bring_registry_along(settings()) or old
    noted = server_file(home)
    try:
        other = str(json.loads(noted.read_bytes())["home"])
    except (OSError, ValueError, KeyError, TypeError):
        return old
    if other != str(home.resolve()):
        noted.unlink(missing_ok=True)
        return old or other
    return old


def _other_versions(artifact: "Artifact") -> list[dict[str, Any]]:
    """Libraries that an artifact was built with in another version than is installed; whether their releases differ."""
    from timbre.versions import LIBRARIES, other_releases, versions

    built, here = artifact.libraries, versions()
    differ = other_releases(built, here, LIBRARIES)
    return [
        {"artifact": f"{artifact.stage}/{artifact.digest}", "library": name, "built_with": built.get(name), "installed": here.get(name),
         "other_release": name in differ}
        for name in LIBRARIES if built.get(name) != here.get(name)
    ]  # fmt: skip


def _show_others(others: list[dict[str, Any]]) -> None:
    """A line for each library and version that is not the installed one."""
    kinds: dict[tuple[str, str, str, bool], set[str]] = {}
    for one in others:
        version, installed = one["built_with"] or "a version not on record", one["installed"] or "nothing"
        kinds.setdefault((one["library"], version, installed, one["other_release"]), set()).add(one["artifact"])
    for (library, version, installed, other), artifacts in sorted(kinds.items()):
        weight = "another release: its evidence is not compared with new evidence" if other else "the same release"
        print(f"{len(artifacts)} built with {library} {version}, installed is {installed} ({weight})")


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
