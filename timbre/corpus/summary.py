"""What became of the documents of a source, for a person: counts, reasons, and three samples of each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from timbre.corpus.documents import Reason
from timbre.corpus.sifting import Sifted

SAMPLES = 3
_SHOWN = 160


@dataclass(frozen=True)
class Sample:
    """A document: its name, how it begins, and why it was left out, if it was."""

    name: str
    begins: str
    characters_in: int
    characters_kept: int
    why: str = ""


@dataclass(frozen=True)
class Summary:
    """Documents read, kept and rejected by reason, with samples; kinds of files, encodings, languages, and what there is to say."""

    read: int
    kept: int
    words: int
    rejected: dict[str, int]
    kept_samples: list[Sample]
    rejected_samples: dict[str, list[Sample]]
    kinds: dict[str, dict[str, int]]
    encodings: dict[str, int]
    languages: list[str]
    repeated_lines: list[dict[str, Any]]
    notes: list[str]
    cut_into_sections: bool

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def summarise(sifted: Sifted) -> Summary:
    """The summary of what was sifted; asked for before its spool is closed."""
    spool = sifted.spool
    rejected = spool.counts("SELECT reason, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY reason ORDER BY COUNT(*) DESC, reason")
    return Summary(
        read=sifted.read.total(), kept=int(spool.one("SELECT COUNT(*) FROM draft WHERE reason IS NULL")),
        words=int(spool.one("SELECT SUM(size) FROM draft WHERE reason IS NULL") or 0), rejected=dict(rejected),
        kept_samples=_samples(sifted, "reason IS NULL", ()),
        rejected_samples={reason: _samples(sifted, "reason = ?", (reason,)) for reason in rejected}, kinds=sifted.by_kind(),
        encodings=dict(spool.counts("SELECT encoding, COUNT(*) FROM draft WHERE encoding != '' GROUP BY encoding ORDER BY COUNT(*) DESC")),
        languages=list(dict.fromkeys(language for wanted in sifted.languages.values() for language in wanted)),
        repeated_lines=[asdict(line) for lines in sifted.repeated.values() for line in lines], notes=list(sifted.notes),
        cut_into_sections=sifted.cut_into_sections,
    )  # fmt: skip


def _samples(sifted: Sifted, where: str, arguments: Sequence[str]) -> list[Sample]:
    """First, middle and last of what fits, shortened."""
    base = sifted.spool.base
    count = int(sifted.spool.one(f"SELECT COUNT(*) FROM draft WHERE {where}", *arguments))  # nosec B608: our own conditions
    places = sorted({0, count // 2, count - 1}) if count else []
    columns = "doc_id, SUBSTR(text, 1, 400), characters, LENGTH(text), reason, detail"
    query = f"SELECT {columns} FROM draft WHERE {where} ORDER BY n LIMIT 1 OFFSET ?"  # nosec B608: our own conditions
    rows = [base.execute(query, (*arguments, place)).fetchone() for place in places]
    return [
        Sample(doc_id.partition(":")[2] or doc_id, _beginning(text), into, kept, why_in_words(reason or "", detail or ""))
        for doc_id, text, into, kept, reason, detail in rows
    ]


def why_in_words(reason: str, detail: str) -> str:
    """Why a document was left out, as it is said: of a duplicate, which other it is like."""
    if reason not in (Reason.DUPLICATE, Reason.NEAR_DUPLICATE):
        return detail
    share, _, other = detail.partition(" of ")
    return f"the same as {other}" if reason == Reason.DUPLICATE else f"{float(share):.0%} like {other}"


def _beginning(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1].rsplit(" ", 1)[0] + " …"
