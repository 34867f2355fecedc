"""`timbre corpus`: bringing one's own texts."""

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbre.cli.options import Json
from timbre.cli.terminal import WholeHelp

if TYPE_CHECKING:
    from timbre.corpus.adding import Added
    from timbre.corpus.shelf import Row, Size
    from timbre.corpus.summary import Summary

_UNASKED = (
    "note: no consent is recorded, and {licence} alone is none. If one author wrote most of these texts, the gate `consent` fails and "
    "nothing is promoted. If the author agreed, or is yourself, give the same command with --consent and how that is known."
)
_WIDTH = 80
_WIDEST = 48
"""Letters of a column; a longer name moves its own line only."""
_QUICK = 4_000_000

app = typer.Typer(cls=WholeHelp, no_args_is_help=True, help="Bring texts of your own.", rich_markup_mode=None)


@app.callback()
def _corpus() -> None:
    """Bring texts of your own."""


@app.command()
def add(
    path: Annotated[
        Path,
        typer.Argument(help="A file or folder: txt, md, html, rst, docx, odt, rtf, pdf, epub, csv, json, jsonl, parquet, mail, chats …"),
    ],
    style: Annotated[str, typer.Option(help="The style these texts are written in; made if it does not exist.")],
    author: Annotated[str, typer.Option(help="Who wrote them.")] = "",
    licence: Annotated[str, typer.Option(help="Under which terms you may use them, for example CC-BY-4.0 or 'own work'.")] = "",
    consent: Annotated[
        str,
        typer.Option(
            help="How the author agreed that their manner is learnt. 'own work', CC0-1.0 and 'public domain' as licence say it "
            "already; under any other licence it counts as not recorded, and the gate `consent` lets no such author make up "
            "most of a corpus."
        ),
    ] = "",
    name: Annotated[str | None, typer.Option(help="Name of the source, if the style and file name do not make a good one.")] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column that holds the text; by default text, content, body and the like.")
    ] = None,
    author_column: Annotated[str | None, typer.Option(help="Column that names the author, if there is one.")] = None,
    date_column: Annotated[
        str | None, typer.Option(help="Column that holds the date; by default date, created, published and the like.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="Whose turns of a chat are the texts: assistant (the default), user, …; of messengers and mail, a name."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the text files; found out for each by default.")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code; found out by default. Texts in others are left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be kept and left out, and why; register nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Register texts under a style, by content; then: timbre run --style NAME. The same command again updates them.

    \b
    timbre corpus add essays/ --style essays --author "A. Writer" --licence "own work"
    timbre corpus add posts.csv --text-column body --date-column day --style posts --author me --licence "own work"
    timbre corpus add drafts/ --style essays --author me --licence "own work" --dry-run
    """

    from timbre.corpus.adding import Request
    from timbre.corpus.adding import add as bring
    from timbre.corpus.consent import is_recorded
    from timbre.corpus.finding import skipped_endings
    from timbre.corpus.shelf import style_size
    from timbre.progress import SILENT, Progress

    fields = {"text_column": text_column, "author_column": author_column, "date_column": date_column, "role": role, "encoding": encoding}
    reading = {field: value for field, value in fields.items() if value is not None}
    request = Request(path, style, author, licence, name, consent=consent or None, language=language, reading=reading)
    skipped = skipped_endings(path)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        added = bring(request, dry_run=dry_run, track=(SILENT if json_output or _is_quick(path) else Progress()).track)
    beside = _of_columns(heard, added.summary)  # what else there is to say stands in the summary
    size = style_size(style, (added.source.name, added.summary)) if not dry_run else None
    little = _little(style, size) if size is not None else ""
    agreed = is_recorded(added.source.consent, added.source.licence)
    if json_output:
        counted: dict[str, Any] = (
            {"documents": size.documents, "style_words": size.words} if size else {"documents": None, "style_words": None}
        )
        counted |= {"few": bool(little), "counted": None if size is None else "kept" if size.cleaned else "brought"}
        told = {
            "style": style,
            "source": str(added.entry),
            "name": added.source.name,
            "dry_run": dry_run,
            "skipped": skipped,
            "lists": added.lists,
        }
        print(
            json.dumps(
                told
                | {
                    "unused_options": _unused(reading, added.summary),
                    "columns": beside,
                    "consent_recorded": agreed,
                    "changes": added.changes.as_json(),
                    "renamed": added.changes.renamed,
                }
                | added.summary.as_json()
                | counted
            )
        )
        return
    print(f"{'would register' if dry_run else 'registered'} {path} under style {style!r}")
    for line in (*_told(added, dry_run), *(fill(f"note: {each}", _WIDTH) for each in beside)):
        print(line)
    if skipped:
        named = ", ".join(f"{ending} ({count})" for ending, count in skipped.items())
        count = sum(skipped.values())
        print(f"skipped {'1 file whose ending' if count == 1 else f'{count} files whose endings'} no reader knows: {named}")
    if added.lists:
        print(fill(f"an export's own lists, no texts: {', '.join(map(_visible, added.lists))}", _WIDTH, subsequent_indent="  "))
    if unused := _unused(reading, added.summary):
        print(fill(f"note: {', '.join(unused)}: not used, since no file here has rows", _WIDTH))
    if not agreed:
        print(fill(_UNASKED.format(licence=added.source.licence), _WIDTH))
    if little:
        print(little)
    if dry_run:
        print("nothing was registered: leave out --dry-run to do it")
    elif not added.summary.kept:
        print(f"nothing of it is kept, so nothing can be learnt from it; `timbre corpus remove {added.source.name}` takes it back")
    else:
        print(f"next: timbre run --style {style}")


@app.command("list")
def list_sources(json_output: Json = False) -> None:
    """Every source: yours, then those that ship with Timbre, and the styles they make."""
    from timbre.corpus.shelf import as_json, entries

    found = entries()
    if json_output:
        print(json.dumps([as_json(entry) for entry in found]))
        return
    rows = [("source", "styles", "files", "MB", "language", "licence", "consent")]
    for entry in found:
        files, megabytes = (str(entry.files), f"{entry.megabytes:.1f}") if entry.kind == "local" else (entry.kind, "")
        agreed = "recorded" if entry.consent_recorded else "not recorded"
        rows.append((entry.name, ", ".join(entry.styles) or "–", files, megabytes, ", ".join(entry.languages), entry.licence, agreed))
    _print_columns(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A source, or a style of yours.")],
    json_output: Json = False,
) -> None:
    """What became of each document: characters in and kept, and why it is left out."""

    from timbre.corpus import shelf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary, rows = shelf.show(name)
    if json_output:
        print(json.dumps(summary.as_json() | {"name": name, "documents": [asdict(row) for row in rows]}))
        return
    for line in _summary_lines(summary):
        print(line)
    print()
    _print_columns([("document", "kind", "in", "kept", "words", ""), *(_shown(row) for row in rows)])


def _shown(row: "Row") -> tuple[str, ...]:
    from timbre.corpus.summary import why_in_words

    why = f"{row.reason.replace('_', ' ')}: {why_in_words(row.reason, row.detail)}" if row.reason else ""
    return _visible(row.name), row.kind, f"{row.characters_in:,}", f"{row.characters_kept:,}", f"{row.words:,}", why


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="A source of yours, or a style: all its sources.")],
    json_output: Json = False,
) -> None:
    """Take a source off the shelf, with its copies of your files. Corpora and models that were made of it stay."""
    from timbre.corpus import shelf

    sources, styles = shelf.remove(name)
    if json_output:
        print(json.dumps({"removed": sources, "styles_removed": styles}))
        return
    print(f"removed {', '.join(sources)}" + (f"; nothing is left of style {', '.join(styles)}" if styles else ""))


def _unused(reading: dict[str, Any], summary: "Summary") -> list[str]:
    """Options about columns and turns that decide nothing, as no file is a table or a chat."""
    from timbre.corpus.kinds import ROWS

    asked = [f"--{field.replace('_', '-')}" for field in reading if field != "encoding"]
    return [] if ROWS & summary.kinds.keys() or not summary.kinds else asked


def _is_quick(path: Path) -> bool:
    """Whether it takes too little time for a bar."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) < _QUICK


def _told(added: "Added", samples: bool) -> Iterator[str]:
    """Counts of documents, what changed, what there is to say, and with `samples` how some of each begin."""
    changes = added.changes
    if changes.changed or changes.gone or changes.unchanged:
        moved = f" ({changes.renamed} of them under another name)" if changes.renamed else ""
        yield f"updated: {changes.new} new, {changes.changed} changed, {changes.gone} gone, {changes.unchanged} unchanged documents{moved}"
    yield from _summary_lines(added.summary)
    if samples:
        shown: dict[str, Any] = {"kept": added.summary.kept_samples, **added.summary.rejected_samples}
        for what, found in shown.items():
            yield f"\n{what.replace('_', ' ')}:"
            for sample in found:
                why = f"{sample.why}: " if sample.why else ""
                line = f"{_visible(sample.name)}: {why}{sample.begins or '(nothing)'}"
                yield fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _of_columns(heard: Sequence[warnings.WarningMessage], summary: "Summary") -> list[str]:
    """What was said of columns while files were read, each sentence once."""
    said = [str(each.message) for each in heard if each.category is UserWarning and "-column" in str(each.message)]
    return [sentence for sentence in dict.fromkeys(said) if sentence not in summary.notes]


def _visible(name: str) -> str:
    """A name on one line: line ends and other control characters as Python writes them."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)


def _summary_lines(summary: "Summary") -> Iterator[str]:
    rejected = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in summary.rejected.items())
    yield f"{summary.read} documents read, {summary.kept} kept ({summary.words:,} words), {summary.read - summary.kept} rejected" + (
        f": {rejected}" if rejected else ""
    )
    for reason, found in summary.rejected_samples.items():
        if reason == "unreadable":
            yield from (fill(f"unreadable: {_visible(sample.name)}: {sample.why}", _WIDTH, subsequent_indent="  ") for sample in found)
    for kind, row in summary.kinds.items():
        yield f"{kind}: {row['documents']} documents, {row['characters_in']:,} characters in, {row['characters_kept']:,} kept"
    if set(summary.encodings) - {"utf-8"}:
        yield "encodings: " + ", ".join(f"{encoding} ({count})" for encoding, count in summary.encodings.items())
    if summary.languages != ["en"]:
        yield f"languages: {', '.join(summary.languages)}"
    for line in summary.repeated_lines[:10]:
        done = "removed" if line["removed"] else "kept"
        yield f"repeated in {line['share']:.0%} of the documents, {done}: {line['line'][:50]}"
    for note in summary.notes:
        yield fill(f"note: {note}", _WIDTH)


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Left-aligned columns; the last one, and a long name, are as long as they are."""
    widths = [min(_WIDEST, max(len(row[column]) for row in rows)) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())


def _little(style: str, size: "Size") -> str:
    """What will come of too little text, and how much would do; empty where there is enough."""
    from timbre.corpus.shelf import ENOUGH_DOCUMENTS, ENOUGH_WORDS

    notes, counted = [], "kept" if size.cleaned else "brought (before cleaning)"
    if size.documents < ENOUGH_DOCUMENTS:
        notes.append(
            f"note: documents of {style!r} {counted} so far: {size.documents}; from {ENOUGH_DOCUMENTS} on enough can be held out for a "
            "verdict. With fewer, long files are cut into sections where they have headings or chapters; else the gates answer "
            "INCONCLUSIVE (exit code 4), and nothing is promoted."
        )
    if size.words < ENOUGH_WORDS:
        notes.append(
            f"note: words of {style!r} {counted} so far: {size.words:,}; from about {ENOUGH_WORDS:,} on the profile `quick` trains on as "
            "many tokens as it wants. With fewer it learns less, and may not show that it did."
        )
    return "\n".join(fill(note, _WIDTH) for note in notes)
