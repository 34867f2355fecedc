"""`timbre generate`: text from the champion's bundle."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

if TYPE_CHECKING:
    from timbre.artifacts import Artifact
    from timbre.export.session import Decoder
    from timbre.inference.spans import Spans
    from timbre.serving.engine import Engine
    from timbre.serving.runtimes import Runtime
    from timbre.serving.timing import Timed
    from timbre.tasks.bundles import Served


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
    blend: Annotated[
        list[str] | None,
        typer.Option(metavar="STYLE=SHARE", help="Blend another style's champion in, e.g. --blend oratory=.4 (repeatable)."),
    ] = None,
    no_repeat: Annotated[
        int | None, typer.Option(min=3, max=64, help="Write no run of so many tokens of the style's training text.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(min=0, max=32, help="Steps in which what is furthest from the style is written anew, many ways; the best is kept."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
    beside: Annotated[
        Literal["base"] | None, typer.Option(help="base: show beside it what the untuned model writes from the same prompt and seed.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Stream text from the promoted model of a style, through ONNX Runtime; how fast it came is said at the end.

    timbre generate --beside base "It was a dark and stormy night"
    """
    from timbre.cli.terminal import as_typed
    from timbre.inference.steering import Steering
    from timbre.serving.engine import Engine
    from timbre.serving.timing import Timed

    prompt = as_typed(prompt)
    steering = Steering(strength=strength, diversity=diversity)
    if refine is not None and (not steering.idle or blend or beside or no_repeat is not None):
        raise ValueError("--refine takes no --strength, --diversity, --blend, --beside or --no-repeat: leave that out, or refine")
    opened = _Opened.of(style, model, version)
    if refine is not None:
        _refine(opened, prompt, refine, tokens, temperature, top_p, seed, json_output)
        return
    engine = opened.engine
    base = None if steering.idle and beside is None else _base(opened.served.artifact)
    others = _others(blend or [], style, opened.served.artifact, model)
    drawing: dict[str, Any] = {"max_new_tokens": tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    drawing["spans"] = None if no_repeat is None else (_spans(engine, opened.served.artifact), no_repeat)
    mixed = [(decoder, share) for _, _, share, decoder in others]
    tuned = Timed(engine, prompt, **drawing, steering=steering, base=base, blend=mixed)
    untuned = None if beside is None or base is None else Timed(Engine(engine.facts, engine.tokenizer, base, "base"), prompt, **drawing)
    if json_output:
        _print_json(opened, prompt, seed, tuned, untuned, {name: (number, share) for name, number, share, _ in others})
    elif untuned is None:
        _print_stream(opened, prompt, seed, tuned)
    else:
        _print_beside(opened, prompt, seed, tuned, untuned)


@dataclass(frozen=True)
class _Opened:
    """A version that is ready to write, and the seconds that took."""

    style: str
    served: "Served"
    engine: "Engine"
    seconds: float

    @classmethod
    def of(cls, style: str, model: str, version: int | None) -> "_Opened":
        import time

        from timbre.config import ModelConfig
        from timbre.serving.engine import Engine
        from timbre.settings import settings
        from timbre.tasks.bundles import bundle_of
        from timbre.tasks.context import open_store
        from timbre.tasks.environment import prepare

        prepare(settings())
        served = bundle_of(style, ModelConfig(name=model), version)
        began = time.perf_counter()
        engine = Engine.open(served.artifact.path, open_store().hashes)
        return cls(style, served, engine, time.perf_counter() - began)

    def name(self) -> str:
        return f"{self.served.model} v{self.served.version} on {self.engine.provider}"

    def facts(self, prompt: str, text: str, seed: int) -> dict[str, Any]:
        """What every JSON answer begins with."""
        served = self.served
        which = {"style": self.style, "version": served.version, "bundle": served.artifact.digest}
        return {**which, "prompt": prompt, "text": text, "seed": seed}


def _print_json(
    opened: _Opened, prompt: str, seed: int, tuned: "Timed", untuned: "Timed | None", others: Mapping[str, tuple[int, float]]
) -> None:
    import json

    answer = opened.facts(prompt, "".join(tuned), seed) | tuned.figures()
    answer |= {"engine_start_s": round(opened.seconds, 3), "provider": opened.engine.provider}
    if others:
        answer["blend"] = {name: {"version": number, "share": share} for name, (number, share) in others.items()}
    if untuned is not None:
        answer["beside"] = {"name": "base", "text": "".join(untuned), **untuned.figures()}
    print(json.dumps(answer))


def _print_stream(opened: _Opened, prompt: str, seed: int, tuned: "Timed") -> None:
    print(opened.name(), file=sys.stderr)
    print(prompt, end="", flush=True)
    for piece in tuned:
        print(piece, end="", flush=True)
    print()
    print(f"{tuned.sentence()}; seed {seed}; engine ready in {opened.seconds:.1f} s", file=sys.stderr)


def _print_beside(opened: _Opened, prompt: str, seed: int, tuned: "Timed", untuned: "Timed") -> None:
    print(opened.name(), file=sys.stderr)
    text, other = "".join(tuned), "".join(untuned)
    _print_both(prompt, {"base": other, f"tuned, v{opened.served.version}": text})
    speeds = f"base: {untuned.sentence()}; tuned: {tuned.sentence()}"
    from shutil import get_terminal_size
    from textwrap import fill

    ready = f"{speeds}; seed {seed}; engine ready in {opened.seconds:.1f} s"
    print(fill(ready, max(40, get_terminal_size((80, 24)).columns), break_on_hyphens=False), file=sys.stderr)


def _print_both(prompt: str, texts: Mapping[str, str]) -> None:
    """The prompt, and under it the texts side by side."""
    import shutil

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=min(shutil.get_terminal_size((80, 24)).columns, 110), highlight=False)
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0))
    for name in texts:
        table.add_column(name, ratio=1)
    table.add_row(*(Text(text.strip()) for text in texts.values()))
    console.print(Text(prompt, style="italic"))
    console.print(table)


def _spans(engine: "Engine", bundle: "Artifact") -> "Spans":
    """The training text of a version."""
    from timbre.export.reference import read_spans
    from timbre.tasks.references import reference_of

    return read_spans(reference_of(bundle), engine.tokenizer)


def _refine(
    opened: _Opened, prompt: str, steps: int, tokens: int, temperature: float | None, top_p: float | None, seed: int, json_output: bool
) -> None:
    """Write a draft, better it, and print both."""
    import json

    from timbre.config import SamplerConfig
    from timbre.export.reference import read_critic
    from timbre.serving.refine import Refiner
    from timbre.tasks.references import reference_of

    engine, served = opened.engine, opened.served
    given = {name: value for name, value in (("temperature", temperature), ("top_p", top_p)) if value is not None}
    sampler = SamplerConfig.model_validate(engine.facts.sampler.model_dump() | given)
    refiner = Refiner(engine, read_critic(reference_of(served.artifact)))
    found = refiner.refine(prompt, steps=steps, max_new_tokens=tokens, sampler=sampler, seed=seed)
    kept = sum(step.kept for step in found.steps)
    if json_output:
        answer = opened.facts(prompt, found.text, seed) | {
            "draft": found.draft, "draft_score": found.draft_score, "score": found.score, "steps": len(found.steps), "kept": kept,
            "tokens_read": found.read,
        }  # fmt: skip
        print(json.dumps(answer))
        return
    print(opened.name(), file=sys.stderr)
    print(prompt + found.text)
    far = f"{found.draft_score:.3f} → {found.score:.3f} human spreads beyond the middle human passage"
    print(f"{kept} of {len(found.steps)} stretches kept; distance from the style {far}; seed {seed}", file=sys.stderr)


def _base(bundle: "Artifact") -> "Decoder":
    """The untuned model, to be mixed in or shown beside."""
    from timbre.export.base import served_file
    from timbre.export.session import Decoder
    from timbre.tasks.bases import base_of

    return Decoder.open(served_file(base_of(bundle)))


def _others(given: list[str], style: str, bundle: "Artifact", model: str) -> "list[tuple[str, int, float, Runtime]]":
    """Style, version, share and decoder of each champion that is blended in.

    Raises:
        ValueError: a share that is none, a style without a champion, with another tokenizer, or the style itself.
    """
    from timbre.config import ModelConfig
    from timbre.inference.steering import rest_of
    from timbre.serving.engine import Engine, same_tokens
    from timbre.tasks.bundles import bundle_of

    shares: dict[str, float] = {}
    for each in given:
        name, equals, number = each.rpartition("=")
        try:
            shares[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"--blend {each}: write it as STYLE=SHARE, e.g. --blend oratory=.4")
    rest_of(shares)
    found = []
    for name, share in shares.items():
        if name == style:
            raise ValueError(f"--blend {name}: {name} is what others are blended into, and has the rest of the shares")
        other = bundle_of(name, ModelConfig(name=model))
        if not same_tokens(bundle, other.artifact):
            raise ValueError(f"--blend {name}: its tokenizer is another than that of {style}, so the two cannot be blended")
        found.append((name, other.version, share, Engine.of(other.artifact).decoder))
    return found
