"""What a run made, to be heard: how far its texts are told apart from human ones, and two samples, base beside tuned."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from timbre.artifacts import Artifact

Row = Mapping[str, Any]
WORDS = 60
"""Of a sample as it is printed."""
_FAMILIES = ("characters", "words")


def print_voice(console: "Console", base: "Artifact", tuned: "Artifact") -> None:
    """The voice line, which says so where it was not measured."""
    console.print()
    for line in voice_lines(*(artifact.json("summary.json") for artifact in (base, tuned))):
        console.print(line, markup=False)


def print_samples(console: "Console", base: "Artifact", tuned: "Artifact") -> None:
    """Two prompts, each with both texts side by side; nothing where a model wrote nothing that can be read."""
    if any("generations.jsonl" not in artifact.manifest.files for artifact in (base, tuned)):
        return
    for sample in chosen(*(artifact.json_lines("generations.jsonl") for artifact in (base, tuned))):
        _print_sample(console, *sample)


def voice_lines(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> Iterator[str]:
    """Told apart from human text, base → tuned, in figures of every family that both have; chance is said."""
    before, after = (summary.get("told_apart") or {} for summary in (base, tuned))
    found = [name for name in _FAMILIES if _auc(before, name) is not None and _auc(after, name) is not None]
    if not found:
        why = next(iter((after.get("not_measured") or before.get("not_measured") or {}).values()), None)
        if why:
            yield f"Voice     not measured: {why}"
        return
    moved = "; ".join(f"by {name} {_auc(before, name):.2f} → {_auc(after, name):.2f}{_floor(after, name)}" for name in found)
    yield f"Voice     told apart from human text, base → tuned: {moved}"
    yield f"          {after.get('texts')} texts a side; 1 is always, .5 a coin"


def _auc(told: Mapping[str, Any], name: str) -> float | None:
    row = told.get(name)
    value = row.get("auc") if isinstance(row, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _floor(told: Mapping[str, Any], name: str) -> str:
    floor = told[name].get("floor")
    return "" if floor is None else f" (human {floor:.2f})"


def chosen(base: Sequence[Row], tuned: Sequence[Row]) -> Iterator[tuple[str, str, str, str]]:
    """(prompt, base's text, tuned's text, a human's or "") of the first opening, and of the first instruction to open a chapter.

    The first as they stand, not the best: what is printed is what a reader would get.
    """
    ours, theirs = ({(row["kind"], row["prompt_id"]): row for row in rows if not row.get("sample")} for rows in (tuned, base))
    both = [(row, theirs[name]) for name, row in ours.items() if name in theirs]
    openings = [pair for pair in both if pair[0]["kind"] == "style"]
    instructed = [pair for pair in both if pair[0]["kind"] == "instruction"]
    instructed.sort(key=lambda pair: pair[0]["cluster"] != "open")
    for own, other in (*openings[:1], *instructed[:1]):
        yield own["prompt"], other["text"], own["text"], own.get("human", "")


def _print_sample(console: "Console", prompt: str, base: str, tuned: str, human: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0))
    columns = {"base": base, "tuned": tuned} | ({"human": human} if human and console.width >= 100 else {})
    for name in columns:
        table.add_column(name, ratio=1)
    table.add_row(*(Text(_shortened(text)) for text in columns.values()))
    console.print()
    console.print(Text(f"» {' '.join(prompt.split())}", style="italic"))
    console.print(table)


def _shortened(text: str) -> str:
    found = text.split()
    return " ".join(found[:WORDS]) + (" …" if len(found) > WORDS else "")
