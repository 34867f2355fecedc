"""`timbre quantise`: a version's weights in 8 bits, for a faster `timbre serve`."""

import json
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("quantise")(quantise)


def quantise(
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    json_output: Json = False,
) -> None:
    """Round a version's weights to 8 bits and measure how far that takes it from fp32 (`timbre serve --precision int8`)."""
    from timbre.config import ModelConfig
    from timbre.export.quantised import Quantised
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.environment import prepare
    from timbre.tasks.quantised import quantised_of

    prepare(settings())
    served = bundle_of(style, ModelConfig(name=model), version)
    artifact = quantised_of(served.artifact, build=True)
    figures = Quantised.read(artifact)
    if json_output:
        about = {"model": served.model, "version": served.version, "bundle": served.artifact.digest, "quantised": artifact.digest}
        print(json.dumps(about | figures.model_dump(mode="json") | {"passes": figures.passes}))
        return
    verdict = "may be served" if figures.passes else f"is not served: {figures.limit:g} is the most"
    told = f"{figures.kl:.3g} nats a token from fp32 on {figures.tokens} tokens"
    print(f"{served.model} v{served.version} in {figures.bits} bits: {told}, {verdict}")
