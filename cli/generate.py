"""`timbre generate`: text from the champion's bundle."""

import sys
from typing import TYPE_CHECKING, Annotated

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
    json_output: Json = False,
) -> None:
    """Stream text from the promoted model of a style, through ONNX Runtime."""
    import json

    from timbre.config import ModelConfig
    from timbre.inference.steering import Steering
    from timbre.serving.engine import Engine
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store
    from timbre.tasks.environment import prepare

    prepare(settings())
    served = bundle_of(style, ModelConfig(name=model), version)
    engine = Engine.open(served.artifact.path, open_store().hashes)
    steering = Steering(strength=strength, diversity=diversity)
    pieces = engine.stream(
        prompt, max_new_tokens=tokens, temperature=temperature, top_p=top_p, seed=seed, steering=steering,
        base=None if steering.idle else _base(served.artifact),
    )  # fmt: skip
    if json_output:
        text = "".join(pieces)
        print(json.dumps({"style": style, "version": served.version, "bundle": served.artifact.digest, "prompt": prompt, "text": text}))
        return
    print(f"{served.model} v{served.version} on {engine.provider}", file=sys.stderr)
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _base(bundle: "Artifact") -> "Decoder":
    """The model that is mixed in."""
    from timbre.export.base import ONNX_FILE
    from timbre.export.session import Decoder
    from timbre.tasks.bases import base_of

    return Decoder.open(base_of(bundle).file(ONNX_FILE))
