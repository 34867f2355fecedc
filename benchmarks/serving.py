"""How fast the server's engine writes, on the bundle of a champion or of a folder, beside what a user would take instead.

    python -m benchmarks.serving --json                       the champion of `literary` in this home
    python -m benchmarks.serving --bundle FOLDER --json       any bundle; what needs a champion is null
    python -m benchmarks.serving --only engine,server         parts: engine, mark, server, rivals

Wall-clock seconds of one process, the kinds in turn, median of the rounds; beside them the load of the machine. Prompts have 64
tokens, texts TOKENS; end tokens do not end them. The engine is that of the form which is served (`precision`).

speedup_fp32, _int8, _int4  tokens a second of one text in that form ÷ transformers' `generate` on the merged weights (torch, fp32, KV
                            cache, the same sampler and threads); forms that `timbre quantise` has made
first_token_ms              from the order to the first token, alone
tokens_per_s_1, _8, _32     so many texts at once, after their prompts were read
batch_gain_8                tokens_per_s_8 ÷ tokens_per_s_1
control_overhead            min-p, top-h and dynamic temperature on ÷ off
control_overhead_two        diversity on (the base model mixed in at every token) ÷ off
watermark_overhead          the watermark on ÷ off
watermark_tpr_at_1pct_fpr_200tok   share of marked texts of 200 tokens with p < .01; the p-value is the share of unmarked text that scores
                            as high; beside it the share of unmarked ones, which should be about .01
server_overhead             seconds of a streamed answer over HTTP ÷ of the same text by the engine alone
cold_start_s                `timbre serve` until it answers
rivals                      tokens a second of one text: transformers, onnxruntime-genai (fp32, int8, int4), llama-cpp-python
not_measured                name -> why, where a figure is null
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import rivals
from timbre.artifacts import Artifact
from timbre.export.session import Decoder
from timbre.inference.sampling import Controls
from timbre.inference.steering import Steering
from timbre.inference.watermark import Watermark, keys_of
from timbre.models.tokens import backend_text_ids
from timbre.serving.engine import Engine
from timbre.serving.passage import Piece
from timbre.serving.writer import Bounds, Ended, Event, Order, Writer

PROMPT_TOKENS, MARKED_TOKENS, MARKED_TEXTS = 64, 200, 32
PARTS = ("engine", "mark", "server", "rivals")
GOALS = {
    "speedup_fp32": (">=", 2.2), "speedup_int8": (">=", 3.5), "speedup_int4": (">=", 6.0), "first_token_ms": ("<=", 150.0),
    "batch_gain_8": (">=", 2.5), "control_overhead": ("<=", 1.1), "control_overhead_two": ("<=", 2.2),
    "watermark_tpr_at_1pct_fpr_200tok": (">=", 0.95), "server_overhead": ("<=", 1.1), "cold_start_s": ("<=", 5.0),
}  # fmt: skip
KEYS = (*GOALS, "tokens_per_s_1", "tokens_per_s_8", "tokens_per_s_32", "watermark_overhead")
Figures = dict[str, Any]


class Bench:
    """A bundle, its forms, and what else of it is in this home."""

    def __init__(self, artifact: Artifact, served: Path | None, forms: Mapping[str, Path], tokens: int, rounds: int) -> None:
        self.artifact, self.tokens, self.rounds = artifact, tokens, rounds
        self.engine = Engine.of(artifact, served)
        self.forms = {name: Decoder.open(path) for name, path in forms.items()}
        self.plain = Controls.model_validate(self.engine.facts.sampler.model_dump())
        known = np.setdiff1d(np.arange(self.engine.facts.vocab_size), self.engine.unused)
        count = min(PROMPT_TOKENS, self.engine.facts.context - max(tokens, 2) - 1)
        self.ids: list[int] = np.random.default_rng(0).choice(known, count).tolist()

    def writer(self, decoder: Decoder) -> Writer:
        facts = self.engine.facts
        return Writer(
            decoder, self.engine.tokenizer, vocab_size=facts.vocab_size, unused=self.engine.unused, eos=(), bounds=Bounds(rows=32)
        )  # fmt: skip

    def timed(
        self, writer: Writer, texts: int = 1, sampler: Controls | None = None, mark: Watermark | None = None, base: Decoder | None = None
    ) -> tuple[float, float]:
        """Seconds to the first token of `texts` at once, and tokens a second after it."""
        first, seconds, _ = write(writer, self.ids, texts, self.tokens, sampler or self.plain, mark, base)
        return first, texts * (self.tokens - 1) / (seconds - first)


def write(
    writer: Writer, ids: list[int], texts: int, tokens: int, sampler: Controls, mark: Watermark | None = None, base: Decoder | None = None
) -> tuple[float, float, list[str]]:
    """Seconds to the first token and to the end of all, and the texts."""
    done, left, first, began = threading.Event(), [texts], list[float](), time.perf_counter()
    written = [""] * texts

    def sink(number: int, event: Event) -> None:
        if not first:
            first.append(time.perf_counter() - began)
        if isinstance(event, Piece):
            written[number] += event.text
        if isinstance(event, Ended):
            left[0] -= 1
            if not left[0]:
                done.set()

    steering = None if base is None else Steering(diversity=0.5)
    seeds = [(7, number) for number in range(texts)]
    writer.submit(Order(ids, tokens, sampler, seeds, sink, top=0, mark=mark, steering=steering, base=base))
    if not done.wait(600):
        raise RuntimeError("a text did not end within ten minutes")
    return first[0], time.perf_counter() - began, written


def in_turn(kinds: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each kind gives, in alternation, after one turn that does not count."""
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, action in kinds.items():
            figure = action()
            if turn:
                found[name].append(figure)
    return found


def of_engine(bench: Bench, base: Decoder | None, peer: Any) -> Figures:
    """Speed of one text and of several, of controls and watermark, and of every form beside torch.

    Args:
        base: the base model's decoder, if two distributions are to be measured.
        peer: the merged model in torch, if it is to be compared with.
    """
    writer, others = bench.writer(bench.engine.decoder), {name: bench.writer(decoder) for name, decoder in bench.forms.items()}
    controlled = bench.plain.model_copy(update={"min_p": 0.01, "top_h": 0.9, "dynamic_temperature": 0.5})
    mark = Watermark(keys_of(b"benchmark"))
    kinds: dict[str, Callable[[], tuple[float, float]]] = {
        "1": lambda: bench.timed(writer),
        "controls": lambda: bench.timed(writer, sampler=controlled),
        "watermark": lambda: bench.timed(writer, mark=mark),
        "8": lambda: bench.timed(writer, 8),
        "32": lambda: bench.timed(writer, 32),
    }
    kinds |= {name: (lambda other=other: bench.timed(other)) for name, other in others.items()}  # type: ignore[misc]
    if base is not None:
        kinds["two"] = lambda: bench.timed(writer, base=base)
    if peer is not None:
        pace = rivals.transformers_pace(peer, bench.ids, bench.tokens, bench.plain)
        kinds["torch"] = lambda: (0.0, pace())
    found = in_turn(kinds, bench.rounds)
    for each in (writer, *others.values()):
        each.close()
    speed = {name: median(each for _, each in figures) for name, figures in found.items()}

    def ratio(above: str, below: str) -> float:
        return median(one / other for (_, one), (_, other) in zip(found[above], found[below], strict=True))

    forms = {f"speedup_{name}": ratio(name, "torch") for name in others} if "torch" in found else {}
    return forms | {f"tokens_per_s_1_{name}": speed[name] for name in others} | {
        "first_token_ms": 1000 * median(first for first, _ in found["1"]),
        "tokens_per_s_1": speed["1"], "tokens_per_s_8": speed["8"], "tokens_per_s_32": speed["32"], "batch_gain_8": ratio("8", "1"),
        "control_overhead": ratio("1", "controls"), "watermark_overhead": ratio("1", "watermark"),
        **({"control_overhead_two": ratio("1", "two")} if "two" in found else {}),
        **({"transformers_tokens_per_s": speed["torch"]} if "torch" in found else {}),
    }  # fmt: skip


def of_watermark(bench: Bench, texts: int = MARKED_TEXTS) -> Figures:
    """How often the mark is found in texts of 200 tokens at one false alarm in a hundred, and how often in unmarked ones."""
    writer, mark = bench.writer(bench.engine.decoder), Watermark(keys_of(b"benchmark"))
    tokens = min(MARKED_TOKENS, bench.engine.facts.context - len(bench.ids) - 1)
    shares = []
    for given in (mark, None):
        _, _, written = write(writer, bench.ids, texts, tokens, bench.plain, given)
        found = [mark.detect(backend_text_ids(text, bench.engine.tokenizer)).p_value < 0.01 for text in written]
        shares.append(sum(found) / texts)
    writer.close()
    return {"watermark_tpr_at_1pct_fpr_200tok": shares[0], "watermark_unmarked_taken_for_marked": shares[1], "watermark_texts": texts}


@contextmanager
def serving(style: str, model: str) -> Iterator[tuple[str, float]]:
    """The address of a `timbre serve` of its own process, and how many seconds it took until it answered."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "timbre.cli", "serve", "--style", style, "--model", model, "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("timbre serve ended before it answered; start it by hand to see why")
        yield json.loads(line)["address"], time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(60)


def of_server(bench: Bench, style: str, model: str) -> Figures:
    """Cold start, and a streamed answer beside the same text by the engine in this process."""
    import httpx

    starts = []
    for _ in range(2):
        with serving(style, model) as (_, seconds):
            starts.append(seconds)
    writer, prompt = bench.writer(bench.engine.decoder), bench.engine.tokenizer.decode(bench.ids)
    ids = bench.engine.prompt_ids(prompt)
    with serving(style, model) as (address, seconds), httpx.Client(trust_env=False, timeout=600) as client:
        starts.append(seconds)
        lengths: list[int] = []

        def streamed() -> float:
            body = {"prompt": prompt, "max_tokens": bench.tokens, "seed": 7, "stream": True, "stream_options": {"include_usage": True}}
            began = time.perf_counter()
            with client.stream("POST", address + "/v1/completions", json=body) as answer:
                lines = [line for line in answer.iter_lines() if line.startswith("data: {")]
            seconds = time.perf_counter() - began
            lengths.append(int(json.loads(lines[-1][6:])["usage"]["completion_tokens"]))
            return seconds / lengths[-1]

        def alone() -> float:
            tokens = lengths[-1]
            return write(writer, ids, 1, tokens, bench.plain)[1] / tokens

        found = in_turn({"http": streamed, "engine": alone}, bench.rounds)
    writer.close()
    overhead = median(one / other for one, other in zip(found["http"], found["engine"], strict=True))
    return {"cold_start_s": median(starts), "server_overhead": overhead, "server_tokens": lengths[-1]}


def of_rivals(bench: Bench, peer: Any, gguf: Path | None) -> tuple[Figures, dict[str, str]]:
    """Tokens a second of one text with each rival, and why some were not measured."""
    from timbre.settings import settings

    missing: dict[str, str] = {}
    kinds: dict[str, Callable[[], float]] = {}
    if peer is not None:
        kinds["transformers fp32"] = rivals.transformers_pace(peer, bench.ids, bench.tokens, bench.plain)
    place = settings().home / "benchmarks" / f"rivals-{bench.artifact.digest[:12]}"
    for precision in ("fp32", "int8", "int4"):
        name = f"onnxruntime-genai {precision}"
        try:
            if peer is None:
                raise ValueError("the model's weights are not in this home")
            if not (place / "hf" / "config.json").exists():
                peer.save_pretrained(place / "hf")
            folder = rivals.build_genai(place / "hf", place / precision, precision)
            kinds[name] = rivals.genai_pace(folder, bench.ids, bench.tokens, bench.plain)
        except (ImportError, ValueError, RuntimeError) as error:
            missing[name] = str(error)
    file = gguf
    try:
        file = gguf or rivals.packaged_gguf()
        kinds[f"llama-cpp-python {file.name}"] = rivals.llama_pace(file, bench.ids, bench.tokens, bench.plain)
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        missing["llama-cpp-python"] = str(error)
    writer = bench.writer(bench.engine.decoder)
    kinds[f"timbre {bench.engine.precision}"] = lambda: bench.timed(writer)[1]
    found = in_turn(kinds, bench.rounds)
    writer.close()
    return {"rivals": {name: round(median(values), 2) for name, values in found.items()}}, missing


def opened(given: argparse.Namespace) -> Bench:
    """The bundle that was asked for, with the forms that this home has of it."""
    if given.bundle is not None:
        artifact = Artifact.open(given.bundle)
        facts = Engine.of(artifact).facts
        return Bench(artifact, None, {"fp32": artifact.file(facts.graph)}, given.tokens, given.rounds)
    from timbre.config import ModelConfig
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.quantised import weights_of

    artifact = bundle_of(given.style, ModelConfig(name=given.model)).artifact
    facts = Engine.of(artifact).facts
    forms = {"fp32": artifact.file(facts.graph)}
    for name in ("int8", "int4"):
        try:
            forms[name] = weights_of(artifact, name) or forms["fp32"]
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
    return Bench(artifact, weights_of(artifact, "auto"), forms, given.tokens, given.rounds)


def champion_parts(bench: Bench) -> tuple[Decoder | None, Any]:
    """The base's decoder and the merged model in torch, where this home has what they are made of."""
    import torch

    from timbre.export.base import served_file
    from timbre.export.merge import merged_model
    from timbre.settings import settings
    from timbre.tasks.bases import base_of
    from timbre.tasks.context import open_store

    store, digests = open_store(), bench.engine.facts.digests
    try:
        model, adapter = store.open("model", digests["model"]), store.open("adapter", digests["adapter"])
    except ValueError as error:
        print(f"not compared with torch: {error}", file=sys.stderr)
        return None, None
    torch.set_num_threads(settings().threads)
    return Decoder.open(served_file(base_of(bench.artifact))), merged_model(model, adapter)


def main() -> None:
    """Measure and print."""
    from timbre.cli.options import DEFAULT_MODEL

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle, instead of the champion")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48, help="length of each text")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas (default %(default)s)")
    parser.add_argument("--gguf", type=Path, help="the file that llama-cpp-python reads")
    parser.add_argument("--load", action="store_true", help="instead: requests at once and hostile ones (benchmarks.serving_load)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.load:
        from benchmarks.serving_load import tell

        tell(given.bundle, given.style, as_json=given.json)
        return
    parts = given.only.split(",")
    if strange := set(parts) - set(PARTS):
        parser.error(f"--only {min(strange)}: one of {', '.join(PARTS)}")
    figures = measured(opened(given), parts, given)
    print(json.dumps(figures) if given.json else "\n".join(f"{name:34} {value}" for name, value in figures.items()))


def measured(bench: Bench, parts: list[str], given: argparse.Namespace) -> Figures:
    """Every key; what was not asked for or cannot be had here is None, with its reason in `not_measured`."""
    champion = given.bundle is None
    base, peer = champion_parts(bench) if champion and {"engine", "rivals"} & set(parts) else (None, None)
    found: Figures = {}
    missing: dict[str, str] = {}
    if "engine" in parts:
        found |= of_engine(bench, base, peer)
    if "mark" in parts:
        found |= of_watermark(bench, MARKED_TEXTS if champion else 4)
    if "server" in parts and champion:
        found |= of_server(bench, given.style, given.model)
    if "rivals" in parts and champion:
        more, missing = of_rivals(bench, peer, given.gguf)
        found |= more
    why = "needs a champion and what it was made of in this home" if not champion else "needs `timbre quantise`, or was left out by --only"
    missing |= {name: why for name in KEYS if name not in found}
    misses = {
        name: f"{found[name]:.3g}, goal {sign} {goal:g}" for name, (sign, goal) in GOALS.items()
        if name in found and not (found[name] <= goal if sign == "<=" else found[name] >= goal)
    }  # fmt: skip
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}
    return dict.fromkeys(KEYS) | rounded | {
        "precision": bench.engine.precision, "bundle": bench.engine.digest, "provider": bench.engine.provider,
        "load": os.getloadavg()[0], "misses": misses, "not_measured": missing,
    }  # fmt: skip


if __name__ == "__main__":
    main()
