"""`timbre target`: looking into target distributions, blending styles, packing a target away."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbre.cli.options import DEFAULT_MODEL, Chosen, Json, Model, Profile, Seed, Set, names_a_release, resolve
from timbre.cli.terminal import WholeHelp

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from timbre.artifacts import Artifact
    from timbre.config import ReleaseConfig

app = typer.Typer(
    cls=WholeHelp, no_args_is_help=True, help="Look into target distributions, blend styles, pack targets away.", rich_markup_mode=None
)


@app.callback()
def _target() -> None:
    """Look into target distributions, blend styles, pack targets away."""


@app.command()
@names_a_release
def inspect(
    chosen: Chosen,
    passage: Annotated[int, typer.Option(min=0, help="Which passage, or which prompt of a sequence-level target, from 0.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page to read and point at, instead of a table.")] = None,
    json_output: Json = False,
) -> None:
    """Show a passage token by token.

    What was written, what else the target allows, how many choices that is, and where the mass came from. With
    `--set target.level=sequence`: which completions of a prompt are human-like, what the model overuses, and whether weighing was admitted.

    timbre target inspect --style literary --passage 3 --html passage.html
    """
    config = chosen.release()
    if config.target.level == "sequence":
        _show_sequence(config, passage, html, json_output)
        return
    target, model_artifact = _built(config)
    from timbre.targets.inspect import inspect_passage, passage_table
    from timbre.targets.page import passage_page

    view = inspect_passage(target, model_artifact, passage)
    _show(view, html, json_output, passage_page, lambda console: console.print(passage_table(view)))


@app.command()
def blend(
    parts: Annotated[str, typer.Argument(help="Styles and their shares, for example literary=0.7,technical=0.3; they sum to 1.")],
    name: Annotated[str, typer.Option(help="What to call the blended style; default: the styles' names, joined.")] = "",
    profile: Profile = "quick",
    seed: Seed = 1,
    model: Model = DEFAULT_MODEL,
    settings: Set = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Make the style, print the next command, build nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Blend styles: documents drawn in these shares, every context scored by each style's own reference.

    timbre target blend literary=0.7,technical=0.3
    """
    import json
    import shlex

    from timbre import pipeline
    from timbre.artifacts import ArtifactStore
    from timbre.settings import settings as environment
    from timbre.targets.blending import blended_style, parse_blend

    parsed = parse_blend(parts)
    style = blended_style(parsed, name or "-".join(part.style for part in parsed), environment().home)
    given = json.dumps([part.model_dump(mode="json") for part in parsed])
    config = resolve(style, profile, seed, model, [f"target.blend={given}", *settings])
    following = ["timbre", "run", "--style", style, "--profile", profile, "--seed", str(seed), "--set", f"target.blend={given}"]
    following += [word for assignment in settings for word in ("--set", assignment)] + (
        ["--model", model] if model != DEFAULT_MODEL else []
    )
    report = {"style": style, "blend": json.loads(given), "next": shlex.join(following)}
    if not dry_run:
        store = ArtifactStore(environment().home)
        built: dict[str, Artifact] = {}
        for step in ("model", "corpus", "target"):
            built[step] = pipeline.build(step, config, store, built)
        report |= {"target": built["target"].digest, "admission": built["target"].json("admission.json")["log_score_gain"]}
    if json_output:
        print(json.dumps(report))
        return
    print(f"style {style!r}: {', '.join(f'{part.weight:.0%} {part.style}' for part in parsed)}")
    if "target" in report:
        print(f"target {built['target'].digest[:12]} built and admitted")
    print(f"next: {report['next']}")


@app.command()
@names_a_release
def pack(
    out: Annotated[Path, typer.Argument(help="New folder for the packed target.")],
    chosen: Chosen,
    json_output: Json = False,
) -> None:
    """Pack a target's shards for keeping: smaller, and unpacked to the same bytes."""
    import json

    from timbre.store.archive import pack as pack_store

    target, _ = _built(chosen.release())
    header = pack_store(target.path, out)
    mapped, packed = (sum(path.stat().st_size for path in (folder / "shards").iterdir()) for folder in (target.path, out))
    if json_output:
        print(json.dumps({"mapped_bytes": mapped, "packed_bytes": packed, "tokens": header.tokens}))
    else:
        print(f"{packed / header.tokens:.1f} bytes a token instead of {mapped / header.tokens:.1f}; {out}")


@app.command()
def unpack(
    packed: Annotated[Path, typer.Argument(help="A folder that `timbre target pack` made.")],
    out: Annotated[Path, typer.Argument(help="New folder for the target.")],
    json_output: Json = False,
) -> None:
    """Unpack a packed target; every shard is compared with its sha256."""
    import json

    from timbre.store.archive import unpack as unpack_store

    header = unpack_store(packed, out)
    if json_output:
        print(json.dumps({"shards": len(header.shards), "tokens": header.tokens, "path": str(out)}))
        return
    print(f"{len(header.shards)} shards, {header.tokens:,} tokens, byte for byte what they were; {out}")


def _show_sequence(config: "ReleaseConfig", number: int, html: Path | None, json_output: bool) -> None:
    from timbre import pipeline
    from timbre.artifacts import ArtifactStore
    from timbre.sequence.inspect import inspect_completions, print_view, sequence_page
    from timbre.settings import settings as environment

    built = pipeline.find(config, ArtifactStore(environment().home))
    if "sequence" not in built:
        raise ValueError(
            f"no sequence-level target for these settings yet: `timbre run --style {config.style} --set target.level=sequence` builds it"
        )
    view = inspect_completions(built["sequence"], built["completions"], built["model"], number)
    _show(view, html, json_output, sequence_page, lambda console: print_view(view, console))


def _show(view: Any, html: Path | None, json_output: bool, page: "Callable[[Any], str]", draw: "Callable[[Console], None]") -> None:
    """A view as a page, as JSON, or drawn on the terminal."""
    import json
    from dataclasses import asdict

    if html is not None:
        from timbre.artifacts import write_atomically

        write_atomically(html, page(view).encode())
    if json_output:
        print(json.dumps(asdict(view)))
    elif html is not None:
        print(f"open {html} in a browser")
    else:
        from rich.console import Console

        draw(Console(highlight=False))


def _built(config: "ReleaseConfig") -> "tuple[Artifact, Artifact]":
    """Target and model of a release.

    Raises:
        ValueError: not built yet.
    """
    from timbre import pipeline
    from timbre.artifacts import ArtifactStore
    from timbre.settings import settings as environment

    built = pipeline.find(config, ArtifactStore(environment().home))
    if "target" not in built:
        raise ValueError(f"no target for these settings yet: `timbre run --style {config.style}` builds it")
    return built["target"], built["model"]
