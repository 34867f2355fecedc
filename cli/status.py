"""`timbre status` and `timbre history`: what is, and what was."""

import json
import sys
from typing import Annotated

import typer

from cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("status")(status)
    app.command("history")(history)


def status(json_output: Json = False) -> None:
    """Champion, previous and challenger of every style, and where things are."""
    from tasks.environment import prepare, running_server
    from timbre.settings import settings

    prepare(settings())
    from tasks.overview import models

    rows, server = models(), running_server(settings().home)
    if json_output:
        print(json.dumps({"models": rows, "server": server, "home": str(settings().home)}, indent=2))
        return
    if not rows:
        print("No model yet. `timbre run --style literary` makes the first one.")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in ("model", "champion", "previous", "challenger", "policy", "since"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(str(row[column.header]) if row[column.header] is not None else "–" for column in table.columns))  # type: ignore[index]
        Console().print(table)
        for row in rows:
            if row["problem"]:
                print(f"timbre: {row['problem']}", file=sys.stderr)
    print(f"home {settings().home}" + (f", Prefect {server['prefect']}, MLflow {server['mlflow']}" if server else ""))


def history(
    style: Annotated[str | None, typer.Option(help="Only this style.")] = None,
    json_output: Json = False,
) -> None:
    """Every change of champion, oldest first: when, what, on which verdict, and what it replaced."""
    from tasks.overview import moves

    rows = moves(style)
    if json_output:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        replaced = f" replacing v{row['replaced_version']}" if row["replaced_version"] is not None else ""
        evidence = f"policy {row['policy']}  verdict {row['verdict'][:12]}"
        print(f"{row['at'][:16]}  {row['model']}  {row['kind']} v{row['version']}{replaced}  {evidence}")
    if not rows:
        print("Nothing has been promoted yet.")
