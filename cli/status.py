"""`timbre status` and `timbre history`: what is, and what was."""

import json
import sys
from textwrap import fill
from typing import Annotated

import typer

from timbre.cli.options import Json

_NEWEST = 6
"""Versions that the table names; `--all` and `--json` name all."""
_INDENT = " " * 18
_COLUMNS = 80


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("status")(status)
    app.command("history")(history)


def status(
    style: Annotated[str | None, typer.Option(help="Only the models of this style.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Name every version, not the newest ones only.")] = False,
    json_output: Json = False,
) -> None:
    """Champion, previous, challenger and versions of every style, and where things are."""
    from timbre.settings import settings
    from timbre.tasks.environment import prepare, running_server

    prepare(settings())
    from timbre.tasks import approval
    from timbre.tasks.monitor import waiting
    from timbre.tasks.overview import models

    rows, server = models(style), running_server(settings().home)
    parked = [request for request in waiting() if style in (None, request.style)] if rows else []
    asked = [one for one in approval.waiting() if style in (None, one.style)] if rows else []
    if json_output:
        requests = [request.as_json() for request in parked]
        decisions = [one.as_json() for one in asked]
        seen = {"models": rows, "retrain_requests": requests, "approvals": decisions, "server": server, "home": str(settings().home)}
        print(json.dumps(seen, indent=2))
        return
    if not rows:
        print(f"No model {f'of {style} ' if style else ''}yet. `timbre run --style {style or 'literary'}` makes the first one.")
    else:
        from rich.console import Console
        from rich.table import Table

        from timbre.cli.canary import lines

        table = Table(box=None, pad_edge=False)
        for column in ("model", "champion", "previous", "challenger", "versions", "policy", "since"):
            table.add_column(column, overflow="fold", min_width=len(column) if column != "model" else 16)
        for row in rows:
            shown = row | {"since": row["since"] and row["since"][:10]}  # the day fits 80 columns; --json and `history` say when
            table.add_row(*(_shown(shown[str(column.header)], every) for column in table.columns))
        Console().print(table)
        for row in rows:
            for name in ("report", "data_docs"):
                if row[name]:
                    print(f"{row['model']} {name:9} {row[name]}")
            for line in lines(row["serving"]):
                print(fill(f"{row['model']} {line}", _COLUMNS, subsequent_indent="  ", break_on_hyphens=False))
            if row["problem"]:
                print(f"timbre: {row['problem']}", file=sys.stderr)
    for one in asked:
        print(f"{one.model} v{one.version} waits for approval until {one.until:%Y-%m-%d %H:%M} UTC: timbre approve {one.verdict[:12]}")
    for request in parked:
        print(f"retrain request {request.id} waits for {request.model} v{request.version}: {request.reason}")
    print(f"home {settings().home}" + (f", Prefect {server['prefect']}, MLflow {server['mlflow']}" if server else ""))


def history(
    style: Annotated[str | None, typer.Option(help="Only this style.")] = None,
    every_verdict: Annotated[bool, typer.Option("--verdicts", help="Every verdict instead, PASS or not.")] = False,
    json_output: Json = False,
) -> None:
    """Every change of champion, oldest first: when, what, why, on which verdict, and what it replaced."""
    from timbre.tasks.overview import transitions, verdicts

    rows = verdicts(style) if every_verdict else transitions(style)
    if json_output:
        print(json.dumps(rows, indent=2))
        return
    if every_verdict:
        for row in rows:
            about = f"verdict {row['verdict'][:12]} on bundle {row['bundle'][:12]}, policy {row['policy']} ({row['wording'][:12]})"
            print(f"{row['at'][:16]}  {row['model']}  {row['outcome']}")
            print(fill(about, _COLUMNS, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False))
        if not rows:
            print("Nothing has been judged yet.")
        return
    for row in rows:
        replaced = f" replacing v{row['replaced_version']}" if row["replaced_version"] is not None else ""
        for text in (
            f"{row['at'][:16]}  {row['model']}  {row['kind']} v{row['version']}{replaced}",
            f"{_INDENT}policy {row['policy']}, verdict {row['verdict'][:12]}, {row['reason']}",
        ):
            print(fill(text, _COLUMNS, subsequent_indent=_INDENT, break_on_hyphens=False))
    if not rows:
        print("Nothing has been promoted yet.")


def _shown(value: object, every: bool) -> str:
    """A cell: nothing is a dash, of many versions the newest stand unless `every` one is asked for."""
    if isinstance(value, list):
        shown = value if every else value[-_NEWEST:]
        return ("… " if len(shown) < len(value) else "") + " ".join(f"v{number}" for number in shown)
    return "–" if value is None else str(value)
