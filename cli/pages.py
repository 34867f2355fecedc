"""`timbre open`: the newest pages of a style."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from timbre.cli.options import Json, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("open")(open_page)


def open_page(
    what: Annotated[
        Literal["report", "data", "data-docs", "target", "comparison"],
        typer.Argument(
            help="report; data: what the corpus holds; data-docs: its checks; target: a passage; comparison: with the champion it met."
        ),
    ] = "report",
    style: Style = "literary",
    show: Annotated[bool, typer.Option("--print", help="Print the path only, and open nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Open the newest report of a style in a browser, and print where it lies."""
    from timbre.tasks.latest import COMPARISON, DATA, DATA_DOCS, REPORT, TARGET, latest_page

    page = latest_page(style, {"report": REPORT, "data": DATA, "data-docs": DATA_DOCS, "target": TARGET, "comparison": COMPARISON}[what])
    page = page / "index.html" if page.is_dir() else page
    opened = not show and not json_output and _opened(page)
    if json_output:
        print(json.dumps({"style": style, what.replace("-", "_"): str(page)}))
        return
    print(page)
    if not show and not opened:
        print("timbre: no browser could be started here; open the file above", file=sys.stderr)


def _opened(page: Path) -> bool:
    """Whether a browser of this machine took the page; terminal browsers, which would fill the screen, are not asked."""
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if isinstance(browser, webbrowser.GenericBrowser) and not isinstance(browser, webbrowser.BackgroundBrowser):
        return False
    return browser.open(page.resolve().as_uri())
