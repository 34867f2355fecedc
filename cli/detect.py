"""`timbre detect`: whether a text carries the watermark of this home's key."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

_ENOUGH = 50
"""Tokens under which a mark is often missed; said, not refused."""


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("detect")(detect)


def detect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A text, UTF-8; - reads standard input.")],
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="The version whose tokenizer reads the text; the champion if not given.")] = None,
    key: Annotated[Path | None, typer.Option(help="File of the watermark's secret. Default: serving/watermark.key in the home.")] = None,
    rate: Annotated[float, typer.Option(min=1e-12, max=0.5, help="Share of unmarked texts that may be taken for marked.")] = 0.01,
    json_output: Json = False,
) -> None:
    """Look for the watermark in a text: its p-value, and whether it is below the false-positive rate."""
    from tokenizers import Tokenizer

    from timbre.config import ModelConfig
    from timbre.inference.watermark import Watermark
    from timbre.models.tokens import backend_text_ids
    from timbre.serving.secret import key_file, read_secret
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.environment import prepare

    mark = Watermark(read_secret(key or key_file(settings().home)))
    raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    prepare(settings())
    tokenizer = Tokenizer.from_file(str(bundle_of(style, ModelConfig(name=model), version).artifact.file("tokenizer.json")))
    tokenizer.no_truncation()
    found = mark.detect(backend_text_ids(text, tokenizer))
    marked = found.p_value < rate
    if json_output:
        score = None if found.tokens == 0 else round(found.score, 6)
        told = {
            "file": file,
            "marked": marked,
            "p_value": found.p_value,
            "false_positive_rate": rate,
            "score": score,
            "tokens": found.tokens,
        }
        print(json.dumps(told))
        return
    few = f"; {found.tokens} places are few, and a mark is easily missed" if found.tokens < _ENOUGH else ""
    print(f"{'marked' if marked else 'no mark found'}: p = {found.p_value:.2g} against {rate:g}, {found.tokens} places looked at{few}")
