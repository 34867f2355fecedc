"""The ledger's rows chained by hash, so that a row that was altered, removed or slipped in afterwards is found.

    link_n = sha256(canonical JSON {before: link_(n−1), row: what row n says})

Each model has a chain of its moves and one of its verdicts, kept in a table beside them and written in the same transaction. What
follows the last link cannot be known from the chain alone: whoever can rewrite the whole database can rewrite its links. Note the
last link elsewhere (`timbre doctor` prints it, git or a letter keeps it), and they cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timbre.artifacts import digest_json

START = ""
"""What stands before the first link."""


@dataclass(frozen=True)
class Link:
    """One link of a chain: its place, the row it seals (by sequence or by digest), and its hash."""

    number: int
    row: str
    link: str


@dataclass(frozen=True)
class Checked:
    """What a chain tells.

    Attributes:
        rows: how many rows there are.
        unchained: rows from before there were chains, all of them or none.
        last: the hash of the last link; empty where there is none.
        wrong: sentences, one for each row that is not as it was written.
    """

    rows: int
    unchained: int
    last: str
    wrong: tuple[str, ...]


def link_of(before: str, row: Mapping[str, Any]) -> str:
    """The hash of a row's own words and of the link before."""
    return digest_json({"before": before, "row": dict(row)})


def check(what: str, rows: Mapping[str, Mapping[str, Any]], links: Sequence[Link]) -> Checked:
    """Compare rows, by their names and in order, with the links that were written with them.

    Args:
        what: how a row is called in a sentence, e.g. "move of timbre-literary".
    """
    if not links:
        return Checked(len(rows), len(rows), START, ())
    wrong, before = [], START
    for place, link in enumerate(links, 1):
        if link.number != place:
            wrong.append(f"the {place}. link is missing: {what}")
        if link.row not in rows:
            wrong.append(f"{what} {link.row[:12]} was removed from the ledger")
        elif link_of(before, rows[link.row]) != link.link:
            wrong.append(f"{what} {link.row[:12]} is not what was written: it, or the link before it, was altered")
        before = link.link
    known = {link.row for link in links}
    wrong += [f"{what} {name[:12]} was written past Timbre: no link was made for it" for name in rows if name not in known]
    return Checked(len(rows), 0, before, tuple(wrong))
