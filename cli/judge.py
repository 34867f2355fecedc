"""`timbre judge`: which of two texts do models and people prefer?"""

import json
import random
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timbre.cli.errors import INCONCLUSIVE
from timbre.cli.options import DEFAULT_MODEL, Json, Model
from timbre.cli.terminal import WholeHelp

if TYPE_CHECKING:
    from timbre.judging.pairs import Paired
    from timbre.metrics.texts import Text

app = typer.Typer(
    cls=WholeHelp,
    no_args_is_help=True,
    help="Ask models and people which of two texts they prefer. Never a sole gate.",
    rich_markup_mode=None,
)

A = Annotated[str, typer.Argument(metavar="A", help="Texts with prompts (folder, JSONL, …), or STYLE@N: a registered version.")]
B = Annotated[str, typer.Argument(metavar="B", help="The same; beside a STYLE@N also @human or @base, for the same prompts.")]
Words = Annotated[int, typer.Option(min=5, help="Words of a text that are shown; longer ones are cut, on both sides.")]
Seed = Annotated[int, typer.Option(help="Draws the pairs where there are more than asked for.")]


@app.callback()
def _judge() -> None:
    """Ask models and people which of two texts they prefer. Never a sole gate."""


@app.command()
def run(
    a: A,
    b: B,
    judge: Annotated[list[str], typer.Option(help="local=FOLDER or local=NAME of a model, or URL=MODEL (repeatable).")],
    key_from: Annotated[list[str], typer.Option(help="URL=VARIABLE: the environment variable that holds its key.")] = [],  # noqa: B006
    pairs: Annotated[int, typer.Option(min=1, help="Pairs at most; each is asked twice, in both orders.")] = 200,
    words: Words = 250,
    question: Annotated[str | None, typer.Option(help="What to judge by; default: which of the two is better written.")] = None,
    keep: Annotated[Path, typer.Option(help="Where answers are kept as they come.")] = Path("judgements.jsonl"),
    again: Annotated[bool, typer.Option("--again", help="Ask again what got no answer.")] = False,
    request: Annotated[str, typer.Option(help="JSON merged over a URL judge's requests; null leaves a field out.")] = "{}",
    per_minute: Annotated[float, typer.Option(min=0, help="Questions a minute to each URL; 0: as many as it takes.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Questions under way at a time, to each URL.")] = 4,
    tries: Annotated[int, typer.Option(min=1, help="Of each question, where a URL does not answer.")] = 6,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a URL may take for an answer.")] = 120,
    seed: Seed = 0,
    model: Model = DEFAULT_MODEL,
    json_output: Json = False,
) -> None:
    """Ask judges about pairs of texts, each in both orders; ties are allowed.

    A local judge compares how likely it finds "A", "B" and "tie" as an answer and always says the same. A URL is any
    OpenAI-compatible one; its key comes from an environment variable and is neither printed nor kept. Answers are kept as
    they come: the same command asks only what is missing. Texts belong together by their prompt, files by their name.

    \b
    timbre judge run samples.jsonl human.jsonl --judge local=models/judge
    timbre judge run literary@3 @human --judge http://127.0.0.1:8000/v1=big-model
    timbre judge run literary@3 @base --judge https://HOST/v1=MODEL \\
        --key-from https://HOST/v1=HOST_KEY
    """
    from dataclasses import asdict

    from timbre.artifacts import ArtifactStore
    from timbre.judging.figures import NOTE, agreement, judge_report
    from timbre.judging.judges import open_judges
    from timbre.judging.pairs import spread
    from timbre.judging.queries import Judgements, query_judges
    from timbre.judging.question import CRITERION
    from timbre.progress import Progress
    from timbre.settings import settings

    names, paired = _paired(a, b, words, model)
    queried = spread(paired.pairs, random.Random(seed))[:pairs]
    judges = open_judges(
        judge, ArtifactStore(settings().home), keys=key_from, request=_fields(request), parallel=parallel, tries=tries,
        timeout_seconds=timeout, per_minute=per_minute,
    )  # fmt: skip
    verdicts = query_judges(queried, judges, Judgements(keep, again=again), criterion=question or CRITERION, progress=Progress())
    reports, agreed = [judge_report(one) for one in verdicts], agreement(verdicts)
    if json_output:
        summary = {
            **_sides(names, paired), "judged_pairs": len(queried), "judges": [asdict(report) for report in reports],
            "agreement": asdict(agreed) if agreed else None, "note": NOTE, "kept": str(keep), "queried": [one.queried for one in verdicts],
        }  # fmt: skip
        print(json.dumps(summary, ensure_ascii=False, allow_nan=False))
    else:
        from timbre.cli.judged import print_judges

        print_judges(names, paired, len(queried), reports, agreed)
        print(f"answers kept in {keep}; queried now: {sum(one.queried for one in verdicts)}")
    if not any(report.answered for report in reports):
        raise typer.Exit(INCONCLUSIVE)


@app.command("export")
def export_pages(
    a: A,
    b: B,
    out: Annotated[Path, typer.Option(help="New folder for the pages and their key.")],
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of the blind test; 0 leaves that page out.")] = 40,
    texts: Annotated[int, typer.Option(min=0, help="Texts of the form, 1–5 for fluency and creativity; 0 leaves it out.")] = 40,
    words: Words = 250,
    ask: Annotated[
        Literal["better", "author"], typer.Option(help="better: which is better written; author: which of the two a person wrote.")
    ] = "better",
    question: Annotated[str | None, typer.Option(help="What raters are asked about a pair, in other words.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws pairs and sides; by default one that nobody can guess, kept in the key.")] = None,
    model: Model = DEFAULT_MODEL,
    json_output: Json = False,
) -> None:
    """Write a blind test for people: pages that work offline, and the key to them.

    Send raters pairs.html, form.html or both; each is one file, to be opened in any browser. It keeps their progress and
    gives them a file of answers to send back. Which side is which stands in key.json alone: keep that.

    \b
    timbre judge export literary@3 @human --out study/
    timbre judge export literary@3 @human --ask author --out study/
    timbre judge import answers/*.json --key study/key.json
    """
    from timbre.judging.study import export_study

    names, paired = _paired(a, b, words, model)
    study = export_study(
        paired.pairs, out, names=names, count=pairs, texts=texts, question=question, ask=ask, seed=seed, release=_release(a, model)
    )
    if json_output:
        pages = {kind: {"page": str(page), "study": study.studies[kind], "items": study.items[kind]} for kind, page in study.pages.items()}
        print(json.dumps({**_sides(names, paired), "pages": pages, "key": str(study.key)}, ensure_ascii=False))
        return
    for kind, page in study.pages.items():
        print(f"{page}  {study.items[kind]} {'pairs' if kind == 'pairs' else 'texts'}, for raters")
    print(f"{study.key}  which side is which: not for raters")
    print(f"next: timbre judge import THEIR_FILES --key {shlex.quote(str(study.key))}")


@app.command("import")
def import_ratings(
    ratings: Annotated[list[Path], typer.Argument(help="Files that raters sent back, JSON or CSV: one of each rater and page.")],
    key: Annotated[Path, typer.Option(help="The key.json of the export.")],
    evidence: Annotated[bool, typer.Option("--evidence", help="Keep it as evidence of the version that was rated, in its report.")] = False,
    json_output: Json = False,
) -> None:
    """Take raters' files back: exact intervals of preferences, means of the form, agreement between raters.

    A file of another study, an unfinished one, or a second one of the same rater is refused by name.

    \b
    timbre judge import answers/*.json --key study/key.json
    timbre judge import answers/*.json --key study/key.json --evidence
    """
    from timbre.judging.ratings import ratings_report, read_key, read_ratings

    opened = read_key(key)
    report = ratings_report(read_ratings(ratings, opened), opened)
    kept = _kept(report, opened, ratings) if evidence else None
    if json_output:
        print(json.dumps(report | ({"evidence": str(kept)} if kept else {}), ensure_ascii=False, allow_nan=False))
        return
    from timbre.cli.judged import print_ratings

    print_ratings(report)
    if kept:
        print(f"evidence: {kept}")


def _kept(report: dict[str, Any], key: dict[str, Any], ratings: list[Path]) -> Path:
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.studies import keep_study

    return keep_study(report, key, ratings)


def _release(a: str, model: str) -> dict[str, Any] | None:
    """Which registered version side A is, if it is one."""
    version = re.fullmatch(r"(.+)@(\d+)", a)
    if version is None or Path(a).exists():
        return None
    from timbre.config import ModelConfig
    from timbre.tasks.bundles import find_version
    from timbre.tasks.context import registered_name

    found = find_version(registered_name(version[1], ModelConfig(name=model)), int(version[2]))
    return {"style": version[1], "model": found.model, "version": found.number, "bundle": found.bundle}


def _paired(a: str, b: str, words: int, model: str) -> "tuple[tuple[str, str], Paired]":
    from timbre.judging.pairs import pair_texts

    (name_a, texts_a), (name_b, texts_b) = _side(a, model, beside=None), _side(b, model, beside=a)
    return (name_a, name_b), pair_texts(texts_a, texts_b, words)


def _side(given: str, model: str, *, beside: str | None) -> "tuple[str, list[Text]]":
    """What a side is called, and its texts.

    Raises:
        ValueError: no such path or version, or @human and @base beside something that is no version.
    """
    from timbre.metrics.texts import read_texts

    path = Path(given)
    version = re.fullmatch(r"(.+)@(\d+)", given)
    if not path.exists() and version:
        return f"{version[1]} v{version[2]}", _version_texts(version, model, "version")
    if given in ("@human", "@base"):
        owner = re.fullmatch(r"(.+)@(\d+)", beside or "")
        if owner is None:
            raise ValueError(f"{given} belongs beside a registered version: timbre judge … STYLE@N {given}")
        return given[1:], _version_texts(owner, model, "human" if given == "@human" else "base")
    return path.name or given, read_texts(path)


def _version_texts(version: re.Match[str], model: str, side: Literal["version", "base", "human"]) -> "list[Text]":
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.config import ModelConfig
    from timbre.tasks.generations import version_texts

    return version_texts(version[1], ModelConfig(name=model), int(version[2]), side)


def _sides(names: tuple[str, str], paired: "Paired") -> dict[str, Any]:
    return {
        "a": names[0],
        "b": names[1],
        "pairs": len(paired.pairs),
        "alone": dict(zip("ab", paired.alone, strict=True)),
        "empty": paired.empty,
    }


def _fields(request: str) -> dict[str, Any]:
    try:
        fields = json.loads(request)
    except ValueError as error:
        raise ValueError(f"--request is not JSON ({error})") from error
    if not isinstance(fields, dict) or fields.keys() & {"model", "messages", "stream"}:
        raise ValueError("--request is a JSON object of further fields; model, messages and stream are not among them")
    return fields
