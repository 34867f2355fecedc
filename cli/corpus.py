"""`timbre corpus`: bringing one's own texts."""

import json
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from timbre.cli.options import Json

if TYPE_CHECKING:
    from timbre.corpus.adding import Size

_UNASKED = (
    "note: no consent is recorded, and {licence} alone is none. If one author wrote most of these texts, the gate `consent` fails and "
    "nothing is promoted. If the author agreed, or is yourself, give the same command with --consent and how that is known."
)

app = typer.Typer(no_args_is_help=True, help="Bring texts of your own.", rich_markup_mode=None)


@app.callback()
def _corpus() -> None:
    """Bring texts of your own."""


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A file or folder: txt, md, html, rst, jsonl or parquet.")],
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
    json_output: Json = False,
) -> None:
    """Register texts under a style, by content; then: timbre run --style NAME."""
    from timbre.config import read_toml
    from timbre.corpus.adding import add_source, skipped_endings, style_size
    from timbre.corpus.consent import is_recorded
    from timbre.corpus.sources import Source

    skipped = skipped_endings(path)
    entry = add_source(path, style, author, licence, consent=consent or None, name=name)
    size = style_size(style)
    little = _little(style, size) if size is not None else ""
    source = read_toml(entry, Source)
    agreed = is_recorded(source.consent, source.licence)
    if json_output:
        counted = {"documents": size.documents if size else None, "words": size.words if size else None, "few": bool(little)}
        print(json.dumps({"style": style, "source": str(entry), "skipped": skipped, "consent_recorded": agreed, **counted}))
        return
    print(f"registered {path} under style {style!r}")
    if skipped:
        named = ", ".join(f"{ending} ({count})" for ending, count in skipped.items())
        print(f"skipped {sum(skipped.values())} files whose endings no reader knows: {named}")
    if not agreed:
        print(fill(_UNASKED.format(licence=source.licence), 80))
    if little:
        print(little)
    print(f"next: timbre run --style {style}")


def _little(style: str, size: "Size") -> str:
    """What will come of too little text, and how much would do; empty where there is enough."""
    from timbre.corpus.adding import ENOUGH_DOCUMENTS, ENOUGH_WORDS

    notes = []
    if size.documents < ENOUGH_DOCUMENTS:
        notes.append(
            f"note: documents of {style!r} so far: {size.documents}; from {ENOUGH_DOCUMENTS} on enough can be held out for a verdict. With "
            "fewer, long files are cut into sections where they have headings or chapters; else the gates answer INCONCLUSIVE (exit "
            "code 4), and nothing is promoted."
        )
    if size.words < ENOUGH_WORDS:
        notes.append(
            f"note: words of {style!r} so far: {size.words:,}; from about {ENOUGH_WORDS:,} on the profile `quick` trains on as many "
            "tokens as it wants. With fewer it learns less, and may not show that it did."
        )
    return "\n".join(fill(note, 80) for note in notes)
