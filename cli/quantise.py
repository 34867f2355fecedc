"""`timbre quantise`: a version's weights in 8 and 4 bits, what they cost, and which form `timbre serve` takes."""

import json
from typing import Annotated, Any

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("quantise")(quantise)


def quantise(
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    texts: Annotated[
        int, typer.Option(min=20, help="Texts a side that are told apart; a form judged on fewer than 512 is no default.")
    ] = 512,
    json_output: Json = False,
) -> None:
    """Round a version's weights to 8 and 4 bits, measure what that costs, and name the form that `timbre serve` takes.

    That is the fastest one whose distance to fp32, voice and quick gates pass. What was written is kept: a killed run goes on.
    """
    from timbre.config import ModelConfig
    from timbre.serving.engines import EnginesConfig
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.environment import prepare
    from timbre.tasks.quantised import served_of

    prepare(settings())
    about = bundle_of(style, ModelConfig(name=model), version)
    engines, served = served_of(about.artifact, EnginesConfig(texts=texts))
    found, speed = engines.json("engines.json"), engines.json("speed.json")
    default = served.manifest.config["default"]
    if json_output:
        names = {"model": about.model, "version": about.version, "bundle": about.artifact.digest}
        print(json.dumps(names | {"default": default, "served": served.digest, "forms": found} | speed))
        return
    for name, pace in speed["ms_per_token"].items():
        told = "the bundle itself" if name == "fp32" else _sentence(found[name])
        print(f"{name}: {pace:.3g} ms a token, {speed['bytes'][name] / 1e6:.0f} MB; {told}")
    print(f"{about.model} v{about.version} is served in {default}")


def _sentence(form: dict[str, Any]) -> str:
    areas = ", ".join(f"{area['auc']:.3f} (up to {area['high']:.3f}) by {family}" for family, area in form["told_apart"].items())
    verdict = "passes" if form["passes"] else "is no default: " + "; ".join(form["why"])
    return f"{form['kl']:.3g} nats a token from fp32 on {form['tokens']} tokens{areas and ', told apart ' + areas}; {verdict}"
