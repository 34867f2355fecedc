"""How fast the server's engine writes, on the bundle of a champion or of a folder.

    python -m benchmarks.serving --json                       the champion of `literary` in this home
    python -m benchmarks.serving --bundle FOLDER --json       any bundle

Wall-clock seconds of one process, the kinds in turn, median of the rounds; beside them the load of the machine. Prompts have 64
tokens, texts TOKENS; end tokens do not end them.

first_token_ms              from the order to the first token, alone
tokens_per_s_1, _8, _32     so many texts at once, after their prompts were read
batch_gain_8                tokens_per_s_8 ÷ tokens_per_s_1
control_overhead            min-p, top-h and dynamic temperature on ÷ off
control_overhead_two        diversity on (the base model mixed in at every token) ÷ off; only for the champion
speedup_fp32                tokens_per_s_1 ÷ that of transformers' `generate` on the merged weights (torch, KV cache, the same sampler and
                            threads); only for the champion, where model and adapter are in this home
watermark_overhead          the watermark on ÷ off
cold_start_s                `timbre serve` until it answers (only for the champion)

speedup_int8                the same with weights in 8 bits; only where `timbre quantise` has made them

Not measured here yet: int4.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.export.session import Decoder
from timbre.inference.sampling import Controls
from timbre.inference.steering import Steering
from timbre.inference.watermark import Watermark, keys_of
from timbre.serving.engine import Engine
from timbre.serving.writer import Bounds, Ended, Event, Order, Writer

PROMPT_TOKENS = 64
GOALS = {
    "first_token_ms": ("<=", 150.0), "batch_gain_8": (">=", 2.5), "control_overhead": ("<=", 1.1), "cold_start_s": ("<=", 5.0),
    "control_overhead_two": ("<=", 2.2), "speedup_fp32": (">=", 2.2), "speedup_int8": (">=", 3.5),
}  # fmt: skip


def timed(
    writer: Writer,
    ids: list[int],
    texts: int,
    tokens: int,
    sampler: Controls,
    mark: Watermark | None = None,
    base: Decoder | None = None,
) -> tuple[float, float]:
    """Seconds to the first token of `texts` at once, and tokens a second after it."""
    done, left, first, began = threading.Event(), [texts], list[float](), time.perf_counter()

    def sink(_: int, event: Event) -> None:
        if not first:
            first.append(time.perf_counter() - began)
        if isinstance(event, Ended):
            left[0] -= 1
            if not left[0]:
                done.set()

    seeds = [(7, number) for number in range(texts)]
    steering = None if base is None else Steering(diversity=0.5)
    writer.submit(Order(ids, tokens, sampler, seeds, sink, top=0, mark=mark, steering=steering, base=base))
    if not done.wait(600):
        raise RuntimeError("a text did not end within ten minutes")
    return first[0], texts * (tokens - 1) / (time.perf_counter() - began - first[0])


def measure(
    engine: Engine, rounds: int, tokens: int, base: Decoder | None = None, peer: Any = None, rounded: Decoder | None = None
) -> dict[str, float]:
    """Every figure that one engine gives.

    Args:
        base: the base model's decoder, if two distributions are to be measured.
        peer: the same model in torch, if it is to be compared with.
        rounded: its weights in 8 bits, if there are any.
    """
    random = np.random.default_rng(0)
    known = np.setdiff1d(np.arange(engine.facts.vocab_size), engine.unused)
    ids = random.choice(known, min(PROMPT_TOKENS, engine.facts.context - tokens - 1)).tolist()

    def writing(decoder: Decoder) -> Writer:
        return Writer(
            decoder, engine.tokenizer, vocab_size=engine.facts.vocab_size, unused=engine.unused, eos=(), bounds=Bounds(rows=32)
        )  # fmt: skip

    writer, other = writing(engine.decoder), None if rounded is None else writing(rounded)
    plain = Controls.model_validate(engine.facts.sampler.model_dump())
    controlled = plain.model_copy(update={"min_p": 0.01, "top_h": 0.9, "dynamic_temperature": 0.5})
    mark = Watermark(keys_of(b"benchmark"))
    kinds: dict[str, Callable[[], tuple[float, float]]] = {
        "1": lambda: timed(writer, ids, 1, tokens, plain),
        "controls": lambda: timed(writer, ids, 1, tokens, controlled),
        "watermark": lambda: timed(writer, ids, 1, tokens, plain, mark),
        "8": lambda: timed(writer, ids, 8, tokens, plain),
        "32": lambda: timed(writer, ids, 32, tokens, plain),
    }
    if base is not None:
        kinds["two"] = lambda: timed(writer, ids, 1, tokens, plain, base=base)
    if other is not None:
        kinds["int8"] = lambda: timed(other, ids, 1, tokens, plain)
    if peer is not None:
        kinds["torch"] = lambda: (0.0, generated(peer, ids, tokens, plain))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, action in kinds.items():
            figure = action()
            if turn:
                found[name].append(figure)
    for each in (writer, other):
        if each is not None:
            each.close()
    speed = {name: median(each for _, each in figures) for name, figures in found.items()}
    alone = [each for _, each in found["1"]]
    against = {name: median(one / other for one, (_, other) in zip(alone, found[name], strict=True)) for name in found}
    gains = [eight / one for one, (_, eight) in zip(alone, found["8"], strict=True)]
    more = {"control_overhead_two": against["two"]} if "two" in against else {}
    more |= {"speedup_fp32": against["torch"], "transformers_tokens_per_s": speed["torch"]} if "torch" in against else {}
    if "int8" in found:
        more["tokens_per_s_1_int8"] = speed["int8"]
        if "torch" in found:
            more["speedup_int8"] = median(one / torch for (_, one), (_, torch) in zip(found["int8"], found["torch"], strict=True))
    return more | {
        "first_token_ms": 1000 * median(first for first, _ in found["1"]),
        "tokens_per_s_1": speed["1"], "tokens_per_s_8": speed["8"], "tokens_per_s_32": speed["32"], "batch_gain_8": median(gains),
        "control_overhead": against["controls"], "watermark_overhead": against["watermark"],
    }  # fmt: skip


def generated(model: Any, ids: list[int], tokens: int, sampler: Controls) -> float:
    """Tokens a second of transformers' `generate` after its first token."""
    import torch

    def seconds(count: int) -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), min_new_tokens=count, max_new_tokens=count,
                do_sample=True, temperature=sampler.temperature, top_p=sampler.top_p, top_k=sampler.top_k, pad_token_id=0,
            )  # fmt: skip
        return time.perf_counter() - began

    first = seconds(1)
    return (tokens - 1) / (seconds(tokens) - first)


def champion_parts(engine: Engine, bundle: Artifact) -> tuple[Decoder | None, Any, Decoder | None]:
    """The base's decoder, the merged model in torch, and weights in 8 bits, where this home has them or what they are made of."""
    import torch

    from timbre.export.base import ONNX_FILE
    from timbre.export.merge import merged_model
    from timbre.export.quantised import served_file
    from timbre.settings import settings
    from timbre.tasks.bases import base_of
    from timbre.tasks.context import open_store
    from timbre.tasks.quantised import quantised_of

    store, digests = open_store(), engine.facts.digests
    try:
        model, adapter = store.open("model", digests["model"]), store.open("adapter", digests["adapter"])
    except ValueError as error:
        print(f"not compared with torch: {error}", file=sys.stderr)
        return None, None, None
    torch.set_num_threads(settings().threads)
    try:
        rounded = Decoder.open(served_file(quantised_of(bundle, build=False)))
    except ValueError as error:
        print(f"no weights in 8 bits: {error}", file=sys.stderr)
        rounded = None
    return Decoder.open(base_of(bundle).file(ONNX_FILE)), merged_model(model, adapter), rounded


def cold_start(style: str, model: str) -> float:
    """Seconds until `timbre serve` says that it answers."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "timbre.cli", "serve", "--style", style, "--model", model, "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("timbre serve ended before it answered; start it by hand to see why")
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """Measure and print."""
    from timbre.cli.options import DEFAULT_MODEL

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle, instead of the champion")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48, help="length of each text")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    if given.bundle is None:
        from timbre.config import ModelConfig
        from timbre.tasks.bundles import bundle_of

        bundle = bundle_of(given.style, ModelConfig(name=given.model)).artifact.path
        figures["cold_start_s"] = median(cold_start(given.style, given.model) for _ in range(3))
    else:
        bundle = given.bundle
    artifact = Artifact.open(bundle)
    engine = Engine.of(artifact)
    parts = champion_parts(engine, artifact) if given.bundle is None else (None, None, None)
    figures |= measure(engine, given.rounds, given.tokens, *parts)
    misses = {
        name: f"{figures[name]:.3g}, goal {sign} {goal:g}" for name, (sign, goal) in GOALS.items()
        if name in figures and not (figures[name] <= goal if sign == "<=" else figures[name] >= goal)
    }  # fmt: skip
    figures = {name: round(value, 4) for name, value in figures.items()}
    figures |= {"bundle": engine.digest, "provider": engine.provider, "load": os.getloadavg()[0], "misses": misses}
    if given.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:20} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
