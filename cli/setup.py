"""`timbre setup`: fetch and convert what a run needs, so that runs work offline."""

import json
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("setup")(setup)


def setup(
    style: Annotated[list[str], typer.Option(help="Styles whose sources are fetched (repeatable).")] = ["literary"],  # noqa: B006
    model: Model = DEFAULT_MODEL,
    encoder: Annotated[bool, typer.Option(help="Also the sentence encoder (83 MB), for content metrics; optional.")] = True,
    json_output: Json = False,
) -> None:
    """Fetch the base model, trace its graph, and fetch the sources of styles, once; later runs need no network."""
    from timbre.artifacts import ArtifactStore
    from timbre.config import CorpusConfig, ModelConfig
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.corpus.loading import fetch_source
    from timbre.corpus.sources import SourceInput, corpus_inputs
    from timbre.export.trace import resolve_decoder
    from timbre.models import resolve_model

    def say(text: str) -> None:
        if not json_output:
            print(text, flush=True)

    for name in style:
        for entry in corpus_inputs(CorpusConfig(style=name)).values():
            if isinstance(entry, SourceInput):
                fetch_source(entry.source)
        say(f"sources of {name} are here")
    config, store = ModelConfig(name=model), ArtifactStore(settings().home)
    artifact = resolve_model(config, store)
    say(f"model {model} is here ({artifact.digest[:12]})")
    decoder = resolve_decoder(config, artifact, store)
    say(f"its ONNX graph is here ({decoder.digest[:12]})")
    missing = _encoder() if encoder else "not asked for"
    say("the sentence encoder is here" if missing is None else f"no sentence encoder, so no content metrics: {missing}")
    if json_output:
        print(json.dumps({"styles": style, "model": artifact.digest, "decoder": decoder.digest, "no_encoder": missing}))


def _encoder() -> str | None:
    """Fetch the sentence encoder; why it is not here, or None. Content metrics are then named as not measured, all else works."""
    from timbre.inference.embeddings import fetch_encoder

    try:
        fetch_encoder()
    except ValueError as error:
        return str(error)
    return None
