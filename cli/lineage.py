"""`timbre lineage`: what a version was made of, and what a corpus went into."""

import json
from pathlib import Path
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("lineage")(lineage)


def lineage(
    version: Annotated[int | None, typer.Argument(help="A registered version; the champion if not given.")] = None,
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DIGEST", help="Instead: the promoted versions that this artifact went into."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it, as an SVG file.")] = None,
    json_output: Json = False,
) -> None:
    """Walk from a version back to corpus, base model and code commits, or from an artifact forward to versions."""
    from timbre.registry import lineage as walk
    from timbre.settings import settings
    from timbre.tasks.context import open_store, transitions_of
    from timbre.tasks.environment import prepare
    from timbre.tasks.lineage import root_of

    known = walk.manifests(open_store().all())
    if source is not None:
        if picture is not None:
            raise ValueError("--picture draws the ancestry of a version: leave out --from")
        promoted = {f"{move.model} v{move.version}": move.verdict for move in transitions_of()}
        found = walk.touched(source, promoted, known)
        if json_output:
            print(json.dumps({"from": walk.full_digest(source, known), "versions": found}))
        else:
            print("\n".join(found) or "it went into no promoted version")
        return
    prepare(settings())
    name, number, root, tags = root_of(style, model, version)
    nodes = walk.ancestry(root, known)
    if picture is not None:
        picture.write_text(walk.picture(nodes, f"{name} v{number}"), encoding="utf-8")
    if json_output:
        print(json.dumps({"model": name, "version": number, "tags": tags, "nodes": [node.told() for node in nodes]}))
        return
    print(f"{name} v{number}" + "".join(f"\n{key:22} {value}" for key, value in tags.items()))
    width = max(2 * node.depth + len(node.title) for node in nodes)
    for node in nodes:
        made = f"commit {node.commit[:12]}" if node.commit else "" if node.here else "not an artifact of this home"
        print(f"{'  ' * node.depth}{node.title:<{width - 2 * node.depth}} {node.digest[:12]}  {made}")
