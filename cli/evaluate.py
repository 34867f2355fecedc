"""`timbre evaluate`: any texts against human ones, and the self-check of the Style Diversity Score."""

import hashlib
import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbre.cli.errors import GATE_FAIL, INCONCLUSIVE
from timbre.cli.options import DEFAULT_MODEL, Json, Model, Profile, Style, resolve

if TYPE_CHECKING:
    from timbre.metrics.comparison import Calibrated, Comparison


def register(app: typer.Typer) -> None:
    """Mount the command of this file."""
    app.command("evaluate")(evaluate)


def evaluate(
    texts: Annotated[Path | None, typer.Argument(help="Folder or file (txt, md, html, JSONL, Parquet) to measure.")] = None,
    against: Annotated[Path | None, typer.Option(help="Human texts: another folder or file.")] = None,
    words: Annotated[int, typer.Option(min=20, help="Words of each passage; shorter texts are left out, and counted.")] = 150,
    most: Annotated[int, typer.Option(min=4, help="Passages a side at most (twice as many human ones).")] = 400,
    slop: Annotated[list[Path], typer.Option(help="File of phrases to look for, one a line (repeatable).")] = [],  # noqa: B006
    other: Annotated[list[str], typer.Option(help="NAME=PATH of human text in another style (repeatable).")] = [],  # noqa: B006
    page: Annotated[Path, typer.Option(help="Where the page is written.")] = Path("evaluation.html"),
    calibration: Annotated[str | None, typer.Option(help="Style calibrated with --model: gives score and gap closed.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Measure texts as they stand: line ends, kinds of quotes and dashes too.")] = False,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Check the score itself instead: builds, or finds, a calibration.")
    ] = False,
    prompts: Annotated[int, typer.Option(min=4, help="With --self-check: texts of each set.")] = 100,
    style: Style = "literary",
    profile: Profile = "quick",
    model: Model = DEFAULT_MODEL,
    json_output: Json = False,
) -> None:
    """Measure texts against human ones, without a model, or check the score itself.

    Both sides are cleaned as a corpus is and set alike (line ends, quotes, dashes); where their layout differs that is said, and is
    no difference in writing. --raw measures them as they stand.

    Every metric stands beside its human value, its noise between human halves, and a 95% interval. Exit code 4 where there
    is too little text, or too few documents, to tell; --self-check ends with 3 where the score fails a check.

    \b
    timbre evaluate drafts/ --against essays/
    timbre evaluate samples.jsonl --against books/ --slop cliches.txt
    timbre evaluate --self-check --style literary
    """
    if self_check:
        _self_check(style, profile, model, prompts, json_output)
        return
    if texts is None or against is None:
        raise ValueError("name two sides: timbre evaluate TEXTS --against HUMAN (or --self-check)")
    from timbre.inference.embeddings import packaged_encoder
    from timbre.metrics.comparison import Request, compare_texts
    from timbre.metrics.page import write_page

    others = dict(_named(assignment) for assignment in other)
    _check_page(page, [texts, against, *slop, *others.values()])
    request = Request(texts, against, words, most, tuple(slop), others, raw=raw)
    comparison = compare_texts(request, encoder=packaged_encoder(), calibrated=_calibrated(calibration, model))
    replaced = page.exists()
    write_page(comparison, page, (texts.name or str(texts), against.name or str(against)))
    if json_output:
        print(json.dumps(_finite(comparison.summary() | {"page": str(page), "replaced": replaced}), ensure_ascii=False, allow_nan=False))
    else:
        _print(comparison, page, replaced)
    if comparison.verdict == "INCONCLUSIVE":
        raise typer.Exit(INCONCLUSIVE)


def _check_page(page: Path, read: Sequence[Path]) -> None:
    """Before the work, not after it. A page never replaces a text, nor lies where the next run would read it as one."""
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise ValueError(f"--page {page}: {'that is a folder' if page.is_dir() else 'there is no such folder'}; name a file to write")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--page {page}: a page is HTML; name a file that ends in .html")
    for path in read:
        if page.resolve() == path.resolve() or (path.is_dir() and page.resolve().is_relative_to(path.resolve())):
            raise ValueError(f"--page {page}: it would stand among the texts of {path}; name a place outside of them")


def _named(assignment: str) -> tuple[str, Path]:
    name, equals, path = assignment.partition("=")
    if not (equals and name and path):
        raise ValueError(f"--other {assignment}: write it as NAME=PATH")
    return name, Path(path)


def _print(comparison: "Comparison", page: Path, replaced: bool) -> None:
    """A table within 80 columns, the verdict first."""
    from rich.console import Console

    from timbre.page.render import number

    console = Console(width=80, highlight=False, soft_wrap=False)
    console.print(f"{comparison.verdict}. {comparison.why}", markup=False)
    if comparison.figures:
        _print_figures(comparison)
    if comparison.score is not None and comparison.score.value is not None:
        score = comparison.score
        span = f" [{score.low:.0f}, {score.high:.0f}]" if score.low is not None else ", without an interval"
        print(f"\nStyle Diversity Score {score.value:.0f} of 100{span}")
        if comparison.score_warning:
            console.print(comparison.score_warning, markup=False)
    elif comparison.no_score:
        console.print(f"\nNo Style Diversity Score: {comparison.no_score}.", markup=False)
    _print_told_apart(comparison)
    if comparison.overused:
        phrases = ", ".join(f"{row.phrase} ×{number(row.ratio)}" for row in comparison.overused[:8])
        console.print(f"Overused: {phrases}", markup=False)
    for sentence in comparison.layout:
        console.print(f"layout differs: {sentence}{'' if comparison.raw else ' (not measured; --raw measures it)'}", markup=False)
    for side, row in comparison.read.items():
        print(f"{side}: {row['read']} read, {row['empty']} empty, {row['too_short']} too short")
        print(f"{side}: {row['passages']} passages of {comparison.words} words, of {row['documents']} documents")
    for side, bad in comparison.unread.items():
        for line in bad[:3]:
            console.print(f"{side}: not read: {line.name}: {line.reason}", markup=False)
        if len(bad) > 3:
            print(f"{side}: {len(bad) - 3} more not read; --json names them all")
    for name, why in comparison.missing.items():
        console.print(f"not measured: {name} ({why})", markup=False)
    if comparison.copied:
        print(f"{comparison.copied} passages of these texts stand on the human side too")
    print(f"page {page}{' (replaced)' if replaced else ''}")


def _print_figures(comparison: "Comparison") -> None:
    """Value, interval and human band of every metric, and which side of the band it is on."""
    from timbre.metrics.catalogue import GROUPS, METRIC
    from timbre.metrics.page import side_of_human
    from timbre.page.render import number

    rows = [("metric", "value", "95% interval", "human band", "")]
    for group in (*GROUPS, "beside"):
        for name, figure in comparison.figures.items():
            if METRIC[name].group == group:
                span = f"{number(figure.interval.low)}…{number(figure.interval.high)}" if figure.interval else "–"
                band = f"{number(figure.human.low)}…{number(figure.human.high)}"
                mark = "" if figure.place == "inside" else side_of_human(figure) + ("" if figure.place == "outside" else "?")
                mark = "none: counts as outside" if figure.value is None else mark
                rows.append((name, number(figure.value), span, band, mark))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for name, *cells, mark in rows:
        right = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        print(f"{name:{widths[0]}}  {right}  {mark}".rstrip())
    print("above, below: the whole interval is outside the band; with ?: a part")


def _print_told_apart(comparison: "Comparison") -> None:
    """How well a classifier tells the texts from human ones, family by family."""
    found = comparison.told.found
    if found is None or not found.families:
        why = comparison.told.of if found is None else next(iter(found.not_measured.values()), "")
        print(f"\ntold apart: {why}" if comparison.told.of.startswith("not measured") else f"\ntold apart: not measured ({why})")
        return
    print(f"\ntold apart, {comparison.told.of}, {found.texts} a side, {found.documents} documents (1 always, .5 chance)")
    for name, apart in found.families.items():
        floor = f"human against human {apart.floor.mean:.3f}" if apart.floor is not None else ""
        print(f"{name:10}  {apart.auc.mean:.3f}  [{apart.auc.low:.3f}, {apart.auc.high:.3f}]  {floor}".rstrip())


def _self_check(style: str, profile: str, model: str, prompts: int, json_output: bool) -> None:
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre import pipeline
    from timbre.artifacts import ArtifactStore, write_atomically
    from timbre.evaluation.calibration_stage import CalibrationConfig, calibration
    from timbre.inference.embeddings import packaged_encoder

    release, store = resolve(style, profile, 1, model, []), ArtifactStore(settings().home)
    built = {name: pipeline.build(name, release, store, {}) for name in ("model", "corpus")}
    config = CalibrationConfig(prompts=prompts, encoder=packaged_encoder() is not None)
    artifact = calibration(config, built["model"], built["corpus"], store)
    write_atomically(_pointer(style, model), json.dumps({"digest": artifact.digest, "model": model}).encode())
    summary = artifact.json("calibration.json")
    if json_output:
        print(json.dumps(summary | {"digest": artifact.digest}))
    else:
        print(f"Style Diversity Score of {style}, {summary['count']} texts a set, {summary['definition']}:")
        for check in summary["checks"]:
            value = "–" if check["value"] is None else f"{check['value']:.1f}"
            print(f"{'passed' if check['passed'] else 'FAILED'}  {value:>6}  {check['name']}: {check['required']}")
        for definition, failures in summary["refused"].items():
            print(f"tried before: {definition} ({len(failures)} checks failed)")
    if not summary["passed"]:
        raise typer.Exit(GATE_FAIL)


def _pointer(style: str, model: str) -> Path:
    """Where the newest calibration of a style with this base model is noted; a folder is itself, from wherever it is named."""
    from timbre.settings import settings

    named = str(Path(model).resolve()) if Path(model).is_dir() else model
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(named).name)[:60]
    return settings().home / "calibration" / style / f"{readable}-{hashlib.sha256(named.encode()).hexdigest()[:12]}.json"


def _calibrated(style: str | None, model: str) -> "Calibrated | None":
    """What the calibration of a style with this base model left, or None if none is asked for.

    Raises:
        ValueError: no such style, or it has not been calibrated here with this model.
    """
    if style is None:
        return None
    from timbre.artifacts import ArtifactStore
    from timbre.evaluation.calibrated import read_calibrated
    from timbre.settings import settings
    from timbre.tasks.context import known_style

    known_style(style)
    pointer = _pointer(style, model)
    if not pointer.is_file():
        others = sorted(json.loads(each.read_bytes())["model"] for each in pointer.parent.glob("*.json"))
        raise ValueError(
            f"{style} has not been calibrated here with {model}: `timbre evaluate --self-check --style {style} "
            f"--model {shlex.quote(model)}` does that "
            "once" + (f"; it has been with {', '.join(others)} (name one with --model)" if others else "")
        )
    artifact = ArtifactStore(settings().home).open("calibration", json.loads(pointer.read_bytes())["digest"])
    return read_calibrated(artifact, style)


def _finite(value: Any) -> Any:
    """JSON has no infinity: an unbounded end is null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
