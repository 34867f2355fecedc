"""`timbre export`: a version as a folder that other programs load."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("export")(export)


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    form: Annotated[
        Literal["hf", "onnx", "mlflow"],
        typer.Option(
            "--format", help="hf: merged weights that from_pretrained loads; onnx: the bundle that is served; mlflow: a pyfunc model."
        ),
    ] = "hf",
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    json_output: Json = False,
) -> None:
    """Write a version of a style into a folder: for Hugging Face, for ONNX Runtime, or for MLflow."""
    from timbre.config import ModelConfig
    from timbre.settings import settings
    from timbre.tasks.environment import prepare
    from timbre.tasks.exports import export_version

    prepare(settings())
    served = export_version(style, ModelConfig(name=model), version, form, folder)
    if json_output:
        answer = {"model": served.model, "version": served.version, "format": form, "folder": str(folder.absolute())}
        print(json.dumps(answer | {"bundle": served.artifact.digest}))
        return
    print(f"{served.model} v{served.version} as {form}: {folder.absolute()}")
