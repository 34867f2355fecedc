"""A stable way to the newest pages of a style: `<home>/latest/<style>/`.

The report there is that of the artifact store with version, date, time and the pages beside it written in; what needs no
such words is linked. All links are relative, so that they hold in a home that was moved.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact, write_atomically
from timbre.gates.made import Release, with_release
from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.tasks.release import Released
    from timbre.tasks.stage import Built

_JUDGED = ".verdict"
"""Whose pages these are: the digest of the verdict that the report shows."""
REPORT, DATA, DATA_DOCS, COMPARISON, TARGET = "report.html", "data.html", "data_docs", "comparison.html", "target.html"


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
    """Write the report of a release that just ended, and link Data Docs, comparison, and a passage of the target beside it."""
    comparison = Path(released.comparison) if released.comparison else None
    data, docs = data_pages(built["corpus"].open())
    target = _made_once(f"target-{built['target'].digest[:12]}.html", lambda page: _target_page(built, page))
    folder = point_latest(style, {DATA: data, DATA_DOCS: docs, COMPARISON: comparison, TARGET: target})
    words = {
        DATA: ("The data: sources, lengths, what was rejected, passages", data),
        f"{DATA_DOCS}/index.html": ("Data Docs: what the corpus was checked for", docs),
        TARGET: ("A passage of the target, token by token", target),
        COMPARISON: (f"Compared with v{released.compared_with}", comparison),
    }
    links = tuple((name, text) for name, (text, place) in words.items() if place is not None)
    page = built["verdict"].open().file(REPORT).read_text(encoding="utf-8")
    (folder / REPORT).unlink(missing_ok=True)  # a link of before
    write_atomically(folder / REPORT, with_release(page, Release(_facts(built, released), links)).encode())
    write_atomically(folder / _JUDGED, built["verdict"].digest.encode())
    if released.version is not None:
        from timbre.tasks.studies import show_studies

        show_studies(style, released.model, released.version)


def _facts(built: Mapping[str, "Built"], released: "Released") -> tuple[tuple[str, str], ...]:
    """Which version it is, when it was judged, and how long all its steps took, on what, and for how much money."""
    manifests = [one.open().manifest for one in built.values()]
    judged = built["verdict"].open().manifest.built
    holder = "" if released.version is None else ", the champion" if released.champion == released.version else ", not the champion"
    ran = next((one.precision.sentence() for one in manifests if one.precision is not None), "")
    seconds = sum(float(one.built.get("seconds", 0)) for one in manifests)
    price = settings().hour_price
    money = "" if price is None else f", {seconds / 3600 * price:.2f} at {price:g} an hour"
    return (
        ("version", f"v{released.version}{holder}" if released.version is not None else "not registered"),
        ("date", _day(str(judged["at"]))),
        ("cost", f"{_spoken(seconds)} for all steps{money}{f' ({ran})' if ran else ''}"),
    )


def data_pages(corpus: Artifact) -> tuple[Path | None, Path | None]:
    """The data page of a corpus and its Data Docs with the time of the check, made once under `<home>/pages`."""
    from timbre.corpus.data_page import data_page
    from timbre.corpus.docs_shown import shown_docs

    place, built = f"corpus-{corpus.digest[:12]}", str(corpus.manifest.built["at"])
    at = f"{_day(built)}, {datetime.fromisoformat(built).astimezone(UTC):%H:%M} UTC"

    def docs(page: Path) -> None:
        fresh = page.parents[1] / f".data_docs.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        shown_docs(corpus, fresh, at)
        fresh.rename(page.parent)

    def data(page: Path) -> None:
        write_atomically(page, data_page(corpus, at=at, docs=f"{DATA_DOCS}/index.html" if index is not None else "").encode())

    index = _made_once(f"{place}/{DATA_DOCS}/index.html", docs)
    return _made_once(f"{place}/{DATA}", data), None if index is None else index.parent


def _day(at: str) -> str:
    moment = datetime.fromisoformat(at).astimezone(UTC)
    return f"{moment.day} {moment:%B %Y}"


def _spoken(seconds: float) -> str:
    """As a person says it: seconds, minutes and seconds, hours and minutes."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _made_once(name: str, make: Callable[[Path], None]) -> Path | None:
    """A page under `<home>/pages`, made if it is not there; None, with a warning, where it cannot be: no page fails a release."""
    page = settings().home / "pages" / name
    if page.is_file():
        return page
    try:
        folder = page.parents[1] if page.parent.name == DATA_DOCS else page.parent
        folder.mkdir(parents=True, exist_ok=True)
        make(page)
    except Exception as error:
        warnings.warn(f"{name} could not be made: {type(error).__name__}: {error}", stacklevel=2)
        return None
    return page


def _target_page(built: Mapping[str, "Built"], page: Path) -> None:
    from timbre.targets.inspect import inspect_passage
    from timbre.targets.page import passage_page

    write_atomically(page, passage_page(inspect_passage(built["target"].open(), built["model"].open(), 0)).encode())


def pages_of(style: str, verdict: str) -> dict[str, Path]:
    """Report and Data Docs of a verdict at their stable place; nothing where the newest release of the style was another."""
    folder = latest_folder(style)
    mark = folder / _JUDGED
    if not mark.is_file() or mark.read_text(encoding="utf-8") != verdict:
        return {}
    places = {"report": folder / REPORT, "data_docs": folder / DATA_DOCS / "index.html"}
    return {name: place for name, place in places.items() if place.is_file()}


def latest_page(style: str, name: str = REPORT) -> Path:
    """The newest page of a style.

    Raises:
        ValueError: no release of the style ended in this home, or what it made was removed.
    """
    link = latest_folder(style) / name
    if not link.exists():
        raise ValueError(f"no {name} of {style!r} is here yet: `timbre run --style {style}` makes it")
    return link
