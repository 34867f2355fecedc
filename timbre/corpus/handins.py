"""The history of hand-ins: one record a validation, whatever came of it, and a page that lists them with their Data Docs.

A validation's folder is `<home>/handins/<id>`: record.json and data_docs/. What was accepted is also a file of the data
registry, so that whoever shares that knows who handed in what, under which licence, on what consent and under which contract.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from timbre.artifacts import write_atomically
from timbre.config import Frozen
from timbre.corpus.contract_versions import Rules
from timbre.corpus.validation import Finding, RuleResult

Outcome = Literal["accepted", "unchanged", "refused"]
_FOLDER = "handins"


class Terms(Frozen):
    """A source of what was handed in: on what terms it may be used."""

    source: str
    author: str
    licence: str
    consent: str


class HandIn(Frozen):
    """One validation and what came of it."""

    id: str
    at: datetime
    style: str
    outcome: Outcome
    by: str
    """Who handed it in."""
    terms: tuple[Terms, ...]
    contract: int
    """Number of the contract's version."""
    rules_in_force: Rules
    read: int
    kept: int
    rejected: dict[str, int]
    rules: tuple[RuleResult, ...]
    findings: tuple[Finding, ...]
    digest: str = ""
    """Of the corpus that was built; empty where nothing was."""
    revision: str = ""
    """Its tag in the data registry."""
    to_hand_in_again: tuple[str, ...] = ()
    """Styles whose corpus does not hold a contract that is new with this hand-in."""


def new_id(home: Path, style: str, at: datetime) -> str:
    """A name for a validation that no other in this home has."""
    name = f"{at.astimezone(UTC):%Y%m%dT%H%M%S}-{style}"
    taken = {path.name for path in (home / _FOLDER).glob(f"{name}*")}
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))) if each not in taken)


def folder_of(home: Path, name: str) -> Path:
    """Where a validation's record and Data Docs lie."""
    return home / _FOLDER / name


def data_docs_of(home: Path, record: HandIn) -> Path | None:
    """The first page of its Data Docs; None where none were made, or on another machine."""
    page = folder_of(home, record.id) / "data_docs" / "index.html"
    return page if page.is_file() else None


def keep(home: Path, record: HandIn) -> Path:
    """Write a record, and the page of all anew; the record's path."""
    folder = folder_of(home, record.id)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.json"
    write_atomically(path, (record.model_dump_json(indent=2) + "\n").encode())
    write_atomically(page_of(home), _page(home, kept(home)).encode())
    return path


def kept(home: Path) -> list[HandIn]:
    """The records of this home, oldest first; one that cannot be read is passed over."""
    return in_order(path.read_bytes() for path in sorted((home / _FOLDER).glob("*/record.json")))


def in_order(texts: Iterable[bytes]) -> list[HandIn]:
    """Records from their JSON, oldest first, each once; what is none is passed over."""
    found: dict[str, HandIn] = {}
    for text in texts:
        try:
            record = HandIn.model_validate(json.loads(text))
        except ValueError:
            continue
        found.setdefault(record.id, record)
    return sorted(found.values(), key=lambda record: (record.at, record.id))


def page_of(home: Path) -> Path:
    """The page that lists every validation of this home."""
    return home / _FOLDER / "index.html"


def _page(home: Path, records: list[HandIn]) -> str:
    from timbre.page.render import render

    rows = [
        {
            "record": record, "when": f"{record.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "docs": f"{record.id}/data_docs/index.html" if data_docs_of(home, record) is not None else None,
            "mark": "FAIL" if record.outcome == "refused" else "PASS",
        }
        for record in reversed(records)
    ]  # fmt: skip
    return render(Path(__file__).parent / "templates", "handins.html", {"rows": rows})
