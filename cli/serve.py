"""`timbre serve`: champions over HTTP, in OpenAI's form."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model

if TYPE_CHECKING:
    from timbre.serving.answering import Marks
    from timbre.serving.limits import Limits
    from timbre.serving.policy import ServingPolicy

_LONG = 200
"""Tokens over which a text is a long one, for the watermark."""
_FOLLOW_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("serve")(serve)


def serve(
    style: Annotated[list[str] | None, typer.Option(help="A style to serve (repeatable). Default: literary.")] = None,
    model: Model = DEFAULT_MODEL,
    host: Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    keys: Annotated[Path | None, typer.Option(help="File of key hashes. Default: serving/keys in Timbre's home.")] = None,
    new_key: Annotated[str | None, typer.Option(metavar="NAME", help="Make a key, print it once, and stop.")] = None,
    watermark: Annotated[
        Literal["request", "long", "always"] | None,
        typer.Option(help="Which texts are marked: that ask, also over 200 tokens, or all. Default: as data/serving.toml says."),
    ] = None,
    watermark_key: Annotated[
        Path | None, typer.Option(help="File of the watermark's secret. Default: serving/watermark.key in Timbre's home, if it is there.")
    ] = None,
    new_watermark_key: Annotated[bool, typer.Option("--new-watermark-key", help="Make that file, and stop.")] = False,
    steering: Annotated[
        Literal["request", "start", "off"],
        typer.Option(help="The base model, for diversity and strength: loaded at the first request of it, at the start, or never."),
    ] = "request",
    precision: Annotated[
        Literal["auto", "fp32", "int8", "int4"],
        typer.Option(help="Numbers of the weights, made by `timbre quantise`; auto: the fastest that keeps the voice, else fp32."),
    ] = "auto",
    engine: Annotated[
        Literal["onnx", "torch", "genai"],
        typer.Option(help="What runs the model: our ONNX decoder, torch (the reference), or onnxruntime-genai (extra `genai`)."),
    ] = "onnx",
    trust: Annotated[
        Path | None, typer.Option(help="Public key: only bundles signed with it are served (docs/how-to/serving.md). Default: any.")
    ] = None,
    challenger: Annotated[
        Literal["off", "canary", "shadow"] | None,
        typer.Option(help="Put the registry's challenger on trial at the start: it answers a share, or writes unseen. Default: off."),
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A field of data/serving.toml, e.g. --policy share=0.2 (repeatable).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer; one that dies is started anew. Each has the models.")] = 1,
    inherited: Annotated[int | None, typer.Option("--socket", hidden=True, help="Descriptor of a bound socket.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="A bound, e.g. --limit max_tokens=512 (repeatable; docs/how-to/serving.md).")
    ] = None,
    json_output: Json = False,
) -> None:
    """Serve the promoted models of styles as an OpenAI-compatible API, and follow them when others are promoted."""
    from timbre.settings import settings

    path = keys if keys is not None else settings().home / "serving" / "keys"
    if new_key is not None:
        from timbre.serving.keys import new_key as make

        key = make(path, new_key)
        print(json.dumps({"name": new_key, "key": key, "file": str(path)}) if json_output else key)
        return
    from timbre.serving.secret import key_file, new_secret

    secret = watermark_key if watermark_key is not None else key_file(settings().home)
    if new_watermark_key:
        new_secret(secret)
        print(json.dumps({"file": str(secret)}) if json_output else secret)
        return
    if workers > 1:
        _keep_up(workers, host, port, path)
        return
    asked = _policy(policy or [], challenger)
    marked = watermark or asked.watermark
    marking = (marked, secret if secret.exists() or watermark_key is not None or marked != "request" else None)
    _serve(
        style or ["literary"],
        model,
        host,
        port,
        path,
        limit or [],
        marking,
        steering,
        (trust, precision, engine),
        asked,
        inherited,
        json_output,
    )


def _serve(
    names: list[str],
    model: str,
    host: str,
    port: int,
    path: Path,
    limit: list[str],
    marking: tuple[str, Path | None],
    steering: str,
    source: tuple[Path | None, str, str],
    policy: "ServingPolicy",
    inherited: int | None,
    json_output: bool,
) -> None:
    from timbre.config import ModelConfig
    from timbre.serving.app import application
    from timbre.serving.challengers import Challengers
    from timbre.serving.champions import Styles
    from timbre.serving.keys import Keys
    from timbre.serving.listen import check_address, listening, log_to_stderr, taken_over
    from timbre.serving.listen import serve as listen
    from timbre.serving.watch import Watch
    from timbre.serving.writer import Bounds
    from timbre.settings import settings
    from timbre.tasks.context import open_store
    from timbre.tasks.environment import prepare
    from timbre.tasks.serving import LedgerChampions

    limits, known, mark = _limits(limit), Keys.read(path), _mark(*marking)
    check_address(host, known, path)
    prepare(settings())
    champions = LedgerChampions(ModelConfig(name=model), source[0], precision=source[1], engine=source[2])
    styles = Styles(
        champions,
        Bounds(rows=limits.rows, waiting=limits.waiting, cache_bytes=limits.cache_mib << 20, prefix_bytes=limits.prefix_mib << 20),
        open_store().hashes,
    )
    with listening(host, port) if inherited is None else taken_over(inherited) as bound:
        for name in dict.fromkeys(names):
            loaded = styles.open(name)
            if steering == "start":
                styles.base(loaded)
        log_to_stderr()
        watch = Watch(styles, Challengers(styles, champions), champions, policy)
        app, stop = application(styles, limits, known, mark, steers=steering != "off", watch=watch)
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"

        def started() -> None:
            served = {loaded.style: loaded.version for loaded in styles.current}
            told = ", ".join(f"{loaded.champion.model} v{loaded.version}" for loaded in styles.current)
            print(json.dumps({"address": address, "styles": served}) if json_output else f"{told} at {address}/v1", flush=True)

            if policy.challenger != "off":
                champions.begin_trials([loaded.style for loaded in styles.current], policy)

        styles.follow(_FOLLOW_SECONDS, watch.look)
        try:
            listen(app, bound, limits, started=started, stopping=stop)
        finally:
            styles.close()
            watch.challengers.close()
            watch.close()


def _keep_up(workers: int, host: str, port: int, path: Path) -> None:
    """`timbre serve` several times on one socket, until a signal to stop."""
    from timbre.serving.keys import Keys
    from timbre.serving.listen import check_address, listening, log_to_stderr
    from timbre.serving.workers import Workers, without_workers

    check_address(host, Keys.read(path), path)
    log_to_stderr()
    with listening(host, port) as bound:
        command = [sys.executable, "-m", "timbre.cli", *without_workers(sys.argv[1:])]
        code = Workers(command, bound, workers).run(lambda line: print(line, flush=True))
    if code:
        raise typer.Exit(code)


def _mark(which: str, secret: Path | None) -> "Marks":
    from timbre.inference.watermark import Watermark
    from timbre.serving.answering import Marks
    from timbre.serving.secret import read_secret

    over = {"request": None, "long": _LONG, "always": 0}[which]
    return Marks(None if secret is None else Watermark(read_secret(secret)), over)


def _policy(assignments: list[str], challenger: str | None) -> "ServingPolicy":
    """The project's data/serving.toml, but for what is said here; a challenger is put on trial at the start only where that is said."""
    from timbre.serving.policy import ServingPolicy, project_policy

    given = _assigned("--policy", assignments, ServingPolicy.model_fields)
    return ServingPolicy.model_validate(project_policy().model_dump() | given | {"challenger": challenger or "off"})


def _limits(assignments: list[str]) -> "Limits":
    from timbre.serving.limits import Limits

    return Limits.model_validate(_assigned("--limit", assignments, Limits.model_fields))


def _assigned(option: str, assignments: list[str], fields: Mapping[str, object]) -> dict[str, str]:
    given: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in fields:
            raise ValueError(
                f"{option} {assignment}: write it as NAME={'NUMBER' if option == '--limit' else 'VALUE'}, NAME one of {', '.join(fields)}"
            )
        given[name] = value
    return given
