"""`timbre sign`: a bundle signed by this home's key."""

import json
from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("sign")(sign)


def sign(
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    version: Annotated[int | None, typer.Option(help="A registered version; the champion if not given.")] = None,
    key: Annotated[Path | None, typer.Option(help="File of the private key. Default: signing/key in Timbre's home.")] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a key pair, and stop; promotions are signed from then on.")] = False,
    json_output: Json = False,
) -> None:
    """Sign a version's bundle, for servers that trust the key (`timbre serve --trust`)."""
    from timbre.config import ModelConfig
    from timbre.registry import signing
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.environment import prepare

    home = settings().home
    path = key or signing.key_file(home)
    if new_key:
        fingerprint = signing.new_key(path)
        public = path.with_name(f"{path.name}.pub")
        print(json.dumps({"key": str(path), "public": str(public), "fingerprint": fingerprint}) if json_output else public)
        return
    prepare(settings())
    served = bundle_of(style, ModelConfig(name=model), version)
    written = signing.sign(home, served.artifact.digest, path)
    if json_output:
        print(json.dumps({"model": served.model, "version": served.version, "bundle": served.artifact.digest, "file": str(written)}))
    else:
        print(f"{served.model} v{served.version} signed: {written}")
