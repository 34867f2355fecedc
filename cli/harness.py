"""`timbre harness`: MMLU, TruthfulQA and HumanEval by lm-evaluation-harness, base against version."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model

_NAMES = {"mmlu": "a folder", "truthfulqa_mc1": "a CSV file", "truthfulqa_mc2": "a CSV file", "humaneval": "a JSONL file"}


def register(app: typer.Typer) -> None:
    """Mount the command of this file."""
    app.command("harness")(harness)


def harness(
    version: Annotated[str, typer.Argument(metavar="STYLE@N", help="A registered version.")],
    tasks: Annotated[list[str], typer.Argument(metavar="TASK=PATH...", help="mmlu, truthfulqa_mc1, truthfulqa_mc2, humaneval.")],
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many items of each file.")] = None,
    shots: Annotated[int, typer.Option(min=0, help="Solved examples before each question of mmlu.")] = 0,
    model: Model = DEFAULT_MODEL,
    json_output: Json = False,
) -> None:
    """Run tasks of lm-evaluation-harness on a version and its base, on files of yours.

    Needs `pip install 'timbre[benchmarks]'`. Nothing is fetched. Programs that a model writes for humaneval run in a sandbox
    without network, on Linux. See docs/explanation/factuality.md for the files.

    \b
    timbre harness literary@3 mmlu=data/mmlu --shots 5
    timbre harness literary@3 humaneval=HumanEval.jsonl.gz --limit 50
    """
    if (found := re.fullmatch(r"([a-z0-9][a-z0-9-]*)@(\d+)", version)) is None:
        raise ValueError(f"{version!r} is no version: write STYLE@N, for example literary@3")
    data = dict(_named(one) for one in tasks)
    if len(data) < len(tasks):
        raise ValueError("a task is named twice: give each once")
    from timbre.config import ModelConfig
    from timbre.tasks.harness import run_harness

    table = run_harness(found[1], ModelConfig(name=model), int(found[2]), data, limit=limit, shots=shots)
    if json_output:
        print(json.dumps({"version": version, "shots": shots, "limit": limit, "tasks": table}, allow_nan=False))
        return
    print(f"{'task':16}{'items':>6}{'base':>8}{'version':>9}{'difference':>12}  one-sided 95% bounds")
    for task, row in table.items():
        print(_line(task, row))


def _named(given: str) -> tuple[str, Path]:
    task, equals, path = given.partition("=")
    if not equals or task not in _NAMES or not path:
        raise ValueError(f"{given!r}: write {' or '.join(f'{name}=PATH ({kind})' for name, kind in _NAMES.items())}")
    return task, Path(path)


def _line(task: str, row: dict[str, Any]) -> str:
    bounds = "– (one subject)" if row["low"] is None else f"{100 * row['low']:+.1f} … {100 * row['high']:+.1f} points"
    shares = f"{100 * row['base']['value']:>7.1f}%{100 * row['candidate']['value']:>8.1f}%{100 * row['difference']:>+12.1f}"
    return f"{task:16}{row['items']:>6}{shares}  {bounds}"
