"""A stable way to the newest pages of a style: `<home>/latest/<style>/`, links to what lies in the artifact store."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.tasks.release import Released
    from timbre.tasks.stage import Built

REPORT, DATA_DOCS, COMPARISON = "report.html", "data_docs", "comparison.html"


def latest_folder(style: str) -> Path:
    """Where the newest pages of a style are linked."""
    return settings().home / "latest" / style


def point_latest(style: str, places: Mapping[str, Path | None]) -> Path:
    """Link the pages of the release that just ended; what it does not have is no longer linked.

    Links are relative, so that they hold in a home that was moved.

    Args:
        places: name of the link -> file or folder; None where this release has no such page.
    """
    folder = latest_folder(style)
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in places.items():
        link, fresh = folder / name, folder / f".{name}.new"
        if place is None:
            link.unlink(missing_ok=True)
            continue
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(place, folder))
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        fresh.replace(link)
    return folder


def link_pages(style: str, built: Mapping[str, "Built"], released: "Released") -> None:
    """Link report, Data Docs and comparison of a release that just ended."""
    comparison = Path(released.comparison) if released.comparison else None
    pages = {REPORT: built["verdict"].open().file("report.html"), DATA_DOCS: built["corpus"].open().path / "data_docs"}
    point_latest(style, {**pages, COMPARISON: comparison})


def latest_page(style: str, name: str = REPORT) -> Path:
    """The newest page of a style.

    Raises:
        ValueError: no release of the style ended in this home, or what it made was removed.
    """
    link = latest_folder(style) / name
    if not link.exists():
        raise ValueError(f"no {name} of {style!r} is here yet: `timbre run --style {style}` makes it")
    return link
