"""`timbre gc`: removing what nothing needs any more."""

from typing import Annotated

import typer

from timbre.cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("gc")(gc)


def gc(
    newest: Annotated[int, typer.Option(min=0, help="Keep at least so many artifacts of every stage.")] = 3,
    days: Annotated[float, typer.Option(min=0, help="Keep whatever is younger than so many days.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Remove artifacts that neither the ledger nor a registered version needs; champions and those before them always stay."""
    from timbre.registry.retention import Retention
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.housekeeping import collect

    done = collect(Retention(newest=newest, days=days), dry_run=dry_run)
    if json_output:
        print(done.model_dump_json(indent=2))
        return
    for name in done.removed:
        stage, _, digest = name.partition("/")
        print(f"{stage:18} {digest[:12]}")
    verb = "would free" if dry_run else "freed"
    print(f"{len(done.removed)} artifacts, {verb} {done.freed_bytes / 2**20:,.0f} MiB; {done.kept} stay")
