"""`timbre generate`: text from the champion's bundle."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

if TYPE_CHECKING:
    from timbre.artifacts import Artifact
    from timbre.export.session import Decoder


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("generate")(generate)


def generate(
    prompt: Annotated[str, typer.Argument(help="How the text begins.")],
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Longest text, in tokens.")] = 120,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 is greedy; 1 samples from the model as it is. Default: as the version was judged.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Draw from the likeliest tokens of this mass. Default: as it was judged.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1.5, help="Of the style: 0 is the base model, 1 the version itself, above 1 exaggerates.")
    ] = 1.0,
    diversity: Annotated[
        float | None, typer.Option(min=0, max=1, help="0: the surest words that base and style agree on, 1: the freest. Default: neither.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
    beside: Annotated[
        Literal["base"] | None, typer.Option(help="base: show beside it what the untuned model writes from the same prompt and seed.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Stream text from the promoted model of a style, through ONNX Runtime; how fast it came is said at the end.

    timbre generate --beside base "It was a dark and stormy night"
    """
    import json
    import time

    from timbre.config import ModelConfig
    from timbre.inference.steering import Steering
    from timbre.serving.engine import Engine
    from timbre.serving.timing import Timed
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store
    from timbre.tasks.environment import prepare

    prepare(settings())
    served = bundle_of(style, ModelConfig(name=model), version)
    began = time.perf_counter()
    engine = Engine.open(served.artifact.path, open_store().hashes)
    start = time.perf_counter() - began
    steering = Steering(strength=strength, diversity=diversity)
    base = None if steering.idle and beside is None else _base(served.artifact)
    drawing: dict[str, Any] = {"max_new_tokens": tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    tuned = Timed(engine, prompt, **drawing, steering=steering, base=base)
    if beside is None and not json_output:
        print(f"{served.model} v{served.version} on {engine.provider}", file=sys.stderr)
        print(prompt, end="", flush=True)
        for piece in tuned:
            print(piece, end="", flush=True)
        print()
        print(f"{tuned.sentence()}; seed {seed}; engine ready in {start:.1f} s", file=sys.stderr)
        return
    text = "".join(tuned)
    untuned = None if beside is None or base is None else Timed(Engine(engine.facts, engine.tokenizer, base, "base"), prompt, **drawing)
    other = None if untuned is None else "".join(untuned)
    if json_output:
        answer: dict[str, Any] = {
            "style": style, "version": served.version, "bundle": served.artifact.digest, "prompt": prompt, "text": text, "seed": seed,
            **tuned.figures(), "engine_start_s": round(start, 3), "provider": engine.provider,
        }  # fmt: skip
        if untuned is not None:
            answer["beside"] = {"name": beside, "text": other, **untuned.figures()}
        print(json.dumps(answer))
        return
    assert untuned is not None and other is not None
    print(f"{served.model} v{served.version} on {engine.provider}", file=sys.stderr)
    _print_both(prompt, {"base": other, f"tuned, v{served.version}": text})
    print(f"base: {untuned.sentence()}; tuned: {tuned.sentence()}; seed {seed}; engine ready in {start:.1f} s", file=sys.stderr)


def _print_both(prompt: str, texts: Mapping[str, str]) -> None:
    """The prompt, and under it the texts side by side."""
    import shutil

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=min(shutil.get_terminal_size((80, 24)).columns, 110), highlight=False)
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0))
    for name in texts:
        table.add_column(name, ratio=1)
    table.add_row(*(Text(text.strip()) for text in texts.values()))
    console.print(Text(prompt, style="italic"))
    console.print(table)


def _base(bundle: "Artifact") -> "Decoder":
    """The untuned model, to be mixed in or shown beside."""
    from timbre.export.base import ONNX_FILE
    from timbre.export.session import Decoder
    from timbre.tasks.bases import base_of

    return Decoder.open(base_of(bundle).file(ONNX_FILE))
