"""How fast the server's engine writes, on the bundle of a champion or of a folder, beside what a user would take instead.

    python -m benchmarks.serving --json                       the champion of `literary` in this home
    python -m benchmarks.serving --only forms,batch --json    some parts; what was measured before stands beside them
    python -m benchmarks.serving --bundle FOLDER --json       any bundle; what needs a champion is null

Each part takes a minute or a few, and what it found is kept (benchmarks/serving in the home) under bundle, forms, lengths and rounds, so
that the command goes on where it was killed; `--anew` measures again. Kinds are measured in turn in one process, median of the rounds.
Speed beside torch is by the clock, for that is what somebody waits for, and `by_cpu` has it by CPU seconds (all threads of the process):
on an idle machine torch leaves the second core alone, so both are told. Other ratios are of CPU seconds, which other programs on the
machine disturb least, and `by_wall` has them by the clock; by the clock are also tokens a second, milliseconds and whatever spans two
processes. `load` says how busy the machine was. Prompts have 64 tokens, texts TOKENS; end tokens do not end them. The engine is that of the
form which is served (`precision`).

forms     speedup_fp32, _int8, _int4  tokens of one text in that form ÷ transformers' `generate` on the merged weights (torch, fp32, KV
                                      cache, the same sampler and threads); a form that is not there is made
          first_token_ms              from the order to the first token, alone; first_token_cpu_ms: what all threads worked meanwhile
batch     tokens_per_s_1, _8, _32     so many texts at once, after their prompts were read
          batch_gain_8                tokens_per_s_8 ÷ tokens_per_s_1
controls  control_overhead            min-p, top-h and dynamic temperature on ÷ off
          control_overhead_two        diversity on (the base model mixed in at every token) ÷ off
          watermark_overhead          the watermark on ÷ off
mark      watermark_tpr_at_1pct_fpr_200tok   share of marked texts of 200 tokens with p < .01; the p-value is the share of unmarked text
                                      that scores as high; beside it the share of unmarked ones, which should be about .01
server    server_overhead             seconds of a streamed answer over HTTP ÷ of the same text by the engine alone
          cold_start_s                `timbre serve` until it answers; cold_start_cpu_s: what it worked meanwhile
rivals    rivals                      tokens a second of one text: transformers, onnxruntime-genai (fp32, int8, int4), llama-cpp-python
kl                                    of each form to fp32, nats a token, as `timbre quantise` found it
not_measured                          name -> why, where a figure is null
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import rivals
from benchmarks.paces import Bench, in_turn, write
from benchmarks.rivals import Pace
from timbre.artifacts import Artifact, canonical_json, digest_json, write_atomically
from timbre.export.session import Decoder
from timbre.inference.watermark import Watermark, keys_of
from timbre.models.tokens import backend_text_ids
from timbre.serving.engine import Engine

MARKED_TOKENS, MARKED_TEXTS = 200, 32
NEEDS = {
    "forms": ("speedup_fp32", "speedup_int8", "speedup_int4", "first_token_ms"),
    "batch": ("tokens_per_s_1", "tokens_per_s_8", "tokens_per_s_32", "batch_gain_8"),
    "controls": ("control_overhead", "control_overhead_two", "watermark_overhead"),
    "mark": ("watermark_tpr_at_1pct_fpr_200tok",), "server": ("server_overhead", "cold_start_s"), "rivals": (),
}  # fmt: skip
"""Part -> figures that it gives."""
PARTS = tuple(NEEDS)
GOALS = {
    "speedup_fp32": (">=", 2.2), "speedup_int8": (">=", 3.5), "speedup_int4": (">=", 6.0), "first_token_ms": ("<=", 150.0),
    "batch_gain_8": (">=", 2.5), "control_overhead": ("<=", 1.1), "control_overhead_two": ("<=", 2.2),
    "watermark_tpr_at_1pct_fpr_200tok": (">=", 0.95), "server_overhead": ("<=", 1.1), "cold_start_s": ("<=", 5.0),
}  # fmt: skip
KEYS = tuple(name for names in NEEDS.values() for name in names)
Figures = dict[str, Any]


def _ratios(found: Mapping[str, list[Pace]], wanted: Mapping[str, tuple[str, str]], unit: str = "cpu", beside: str = "wall") -> Figures:
    """Name -> how many tokens the one gives beside the other for the same time of CPU (or by the clock), and beside it by the other."""

    def of(unit: str, above: str, below: str) -> float:
        return median(getattr(one, unit) / getattr(other, unit) for one, other in zip(found[above], found[below], strict=True))

    there = {name: pair for name, pair in wanted.items() if set(pair) <= found.keys()}
    return {name: of(unit, *pair) for name, pair in there.items()} | {
        f"by_{beside}": {name: round(of(beside, *pair), 4) for name, pair in there.items()}
    }


def of_forms(bench: Bench, peer: Any, turns: Path) -> Figures:
    """Speed of one text in every form beside torch.

    Args:
        peer: the merged model in torch, if it is to be compared with.
    """
    writers = {name: bench.writer(Decoder.open(path)) for name, path in bench.forms.items()}
    served = bench.writer(bench.engine.decoder)
    kinds: dict[str, Callable[[], Pace]] = {name: (lambda other=other: bench.timed(other)) for name, other in writers.items()}  # type: ignore[misc]
    kinds["served"] = lambda: bench.timed(served)
    if peer is not None:
        kinds["torch"] = rivals.transformers_pace(peer, bench.ids, bench.tokens, bench.plain)
    found = in_turn(kinds, bench.rounds, turns)
    for each in (served, *writers.values()):
        each.close()
    return _ratios(found, {f"speedup_{name}": (name, "torch") for name in writers}, "wall", "cpu") | {
        "first_token_ms": 1000 * median(each.first for each in found["served"]),
        "first_token_cpu_ms": {name: round(1000 * median(each.first_cpu for each in found[name]), 1) for name in (*writers, "served")},
        "tokens_per_s": {name: round(median(each.wall for each in figures), 2) for name, figures in found.items()},
    }


def of_batch(bench: Bench, turns: Path) -> Figures:
    """Speed of several texts at once."""
    writer = bench.writer(bench.engine.decoder)
    kinds = {str(texts): (lambda texts=texts: bench.timed(writer, texts)) for texts in (1, 8, 32)}  # type: ignore[misc]
    found = in_turn(kinds, bench.rounds, turns)
    writer.close()
    speeds = {f"tokens_per_s_{name}": median(each.wall for each in figures) for name, figures in found.items()}
    return speeds | _ratios(found, {"batch_gain_8": ("8", "1")})


def of_controls(bench: Bench, base: Decoder | None, turns: Path) -> Figures:
    """What controls, the watermark and a second distribution cost one text.

    Args:
        base: the base model's decoder, if two distributions are to be measured.
    """
    writer, mark = bench.writer(bench.engine.decoder), Watermark(keys_of(b"benchmark"))
    controlled = bench.plain.model_copy(update={"min_p": 0.01, "top_h": 0.9, "dynamic_temperature": 0.5})
    kinds: dict[str, Callable[[], Pace]] = {
        "plain": lambda: bench.timed(writer),
        "controls": lambda: bench.timed(writer, sampler=controlled),
        "watermark": lambda: bench.timed(writer, mark=mark),
    }
    if base is not None:
        kinds["two"] = lambda: bench.timed(writer, base=base)
    found = in_turn(kinds, bench.rounds, turns)
    writer.close()
    names = {"control_overhead": "controls", "watermark_overhead": "watermark", "control_overhead_two": "two"}
    return _ratios(found, {name: ("plain", kind) for name, kind in names.items()})


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
def serving(style: str, model: str, precision: str) -> Iterator[tuple[str, tuple[float, float]]]:
    """The address of a `timbre serve` of its own process, and how many seconds, by the clock and of CPU, it took until it answered."""
    import psutil

    began = time.perf_counter()
    command = [sys.executable, "-m", "timbre.cli", "serve", "--style", style, "--model", model, "--port", "0", "--json"]
    command += ["--precision", precision]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("timbre serve ended before it answered; start it by hand to see why")
        seconds, used = time.perf_counter() - began, psutil.Process(process.pid).cpu_times()
        yield json.loads(line)["address"], (seconds, used.user + used.system)
    finally:
        process.terminate()
        process.wait(60)


def of_server(bench: Bench, style: str, model: str, precision: str, turns: Path) -> Figures:
    """Cold start, and a streamed answer beside the same text by the engine in this process."""
    import httpx

    starts = []
    for _ in range(2):
        with serving(style, model, precision) as (_, seconds):
            starts.append(seconds)
    writer, prompt = bench.writer(bench.engine.decoder), bench.engine.tokenizer.decode(bench.ids)
    ids = bench.engine.prompt_ids(prompt)
    with serving(style, model, precision) as (address, seconds), httpx.Client(trust_env=False, timeout=600) as client:
        starts.append(seconds)
        lengths: list[int] = []

        def streamed() -> Pace:
            body = {"prompt": prompt, "max_tokens": bench.tokens, "seed": 7, "stream": True, "stream_options": {"include_usage": True}}
            began = time.perf_counter()
            with client.stream("POST", address + "/v1/completions", json=body) as answer:
                lines = [line for line in answer.iter_lines() if line.startswith("data: {")]
            seconds = time.perf_counter() - began
            lengths.append(int(json.loads(lines[-1][6:])["usage"]["completion_tokens"]))
            return Pace(0.0, lengths[-1] / seconds, 0.0)

        def alone() -> Pace:
            tokens = lengths[-1] if lengths else bench.tokens
            (first, _), (seconds, _), _ = write(writer, ids, 1, tokens, bench.plain)
            return Pace(first, tokens / (first + seconds), 0.0)

        found = in_turn({"http": streamed, "engine": alone}, bench.rounds, turns)
    writer.close()
    overhead = median(other.wall / one.wall for one, other in zip(found["http"], found["engine"], strict=True))
    cold, cpu = (median(each) for each in zip(*starts, strict=True))
    return {
        "cold_start_s": cold,
        "cold_start_cpu_s": cpu,
        "server_overhead": overhead,
        "server_tokens": lengths[-1] if lengths else bench.tokens,
    }


def of_rivals(bench: Bench, peer: Any, gguf: Path | None, turns: Path) -> tuple[Figures, dict[str, str]]:
    """Tokens a second of one text with each rival, and why some were not measured."""
    from timbre.settings import settings

    missing: dict[str, str] = {}
    kinds: dict[str, Callable[[], Pace]] = {}
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
    kinds[f"timbre {bench.engine.precision}"] = lambda: bench.timed(writer)
    found = in_turn(kinds, bench.rounds, turns)
    writer.close()
    return {
        "rivals": {name: round(median(each.wall for each in values), 2) for name, values in found.items()},
        "rivals_by_cpu": {name: round(median(each.cpu for each in values), 2) for name, values in found.items()},
    }, missing


def opened(given: argparse.Namespace) -> Bench:
    """The bundle that was asked for, with its forms, which are made where they are not there yet."""
    if given.bundle is not None:
        artifact = Artifact.open(given.bundle)
        return Bench(artifact, None, {"fp32": artifact.file(Engine.of(artifact).facts.graph)}, given.tokens, given.rounds)
    from timbre.config import ModelConfig
    from timbre.export.quantised import Quantised, rounded_file
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.quantised import quantised_of, weights_of

    artifact = bundle_of(given.style, ModelConfig(name=given.model)).artifact
    rounded = {name: quantised_of(artifact, build=True, precision=name) for name in ("int8", "int4")}
    forms = {"fp32": artifact.file(Engine.of(artifact).facts.graph)} | {name: rounded_file(form) for name, form in rounded.items()}
    kl = {name: Quantised.read(form).kl for name, form in rounded.items()}
    return Bench(artifact, weights_of(artifact, given.precision), forms, given.tokens, given.rounds, kl)


def champion_parts(bench: Bench) -> tuple[Decoder | None, Any]:
    """The base's decoder and the merged model in torch, where this home has what they are made of."""
    import torch

    from timbre.export.merge import merged_model
    from timbre.settings import settings
    from timbre.tasks.context import open_store
    from timbre.tasks.quantised import base_file, rounded_base_of

    store, digests = open_store(), bench.engine.facts.digests
    try:
        model, adapter = store.open("model", digests["model"]), store.open("adapter", digests["adapter"])
    except ValueError as error:
        print(f"not compared with torch: {error}", file=sys.stderr)
        return None, None
    torch.set_num_threads(settings().threads)
    if bench.engine.precision != "fp32":
        rounded_base_of(bench.artifact, bench.engine.precision)
    return Decoder.open(base_file(bench.artifact, bench.engine.precision)), merged_model(model, adapter)


def main() -> None:
    """Measure and print."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's waiting threads would be counted as work of the peer
    from timbre.cli.options import DEFAULT_MODEL

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle, instead of the champion")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "int8", "int4"), help="the form that is served")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48, help="length of each text")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas (default %(default)s)")
    parser.add_argument("--anew", action="store_true", help="measure the parts again, whatever was found before")
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
    found = {part: kept for part in PARTS if (kept := _kept(bench, part, part in parts, given)) is not None}
    figures: Figures = {"by_wall": {}, "by_cpu": {}}
    missing: dict[str, str] = {}
    for kept in found.values():
        missing |= kept["missing"]
        for unit in ("by_wall", "by_cpu"):
            figures[unit] |= kept["figures"].pop(unit, {})
        figures |= kept["figures"]
    for part, names in NEEDS.items():
        why = (
            "needs a champion and what it was made of in this home"
            if part in found or given.bundle
            else f"left out here: `--only {part}` measures it"
        )
        missing |= {name: why for name in names if name not in figures}
    misses = {
        name: f"{figures[name]:.3g}, goal {sign} {goal:g}" for name, (sign, goal) in GOALS.items()
        if name in figures and not (figures[name] <= goal if sign == "<=" else figures[name] >= goal)
    }  # fmt: skip
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    return dict.fromkeys(KEYS) | rounded | {
        "kl": bench.kl, "precision": bench.engine.precision, "bundle": bench.engine.digest, "provider": bench.engine.provider,
        "load": {part: kept["load"] for part, kept in found.items()}, "misses": misses, "not_measured": missing,
    }  # fmt: skip


def _kept(bench: Bench, part: str, wanted: bool, given: argparse.Namespace) -> Figures | None:
    """What a part found, measured where it is `wanted` and not known yet; None where it is neither."""
    from timbre.settings import settings

    about = {
        "bundle": bench.artifact.digest, "forms": {name: path.parent.name for name, path in bench.forms.items()}, "part": part,
        "served": bench.engine.precision, "tokens": bench.tokens, "rounds": bench.rounds, "speed": "by the clock",
    }  # fmt: skip
    place = settings().home / "benchmarks" / "serving" / f"{part}-{digest_json(about)[:16]}.json"
    known: Figures | None = json.loads(place.read_bytes()) if place.exists() and not (wanted and given.anew) else None
    if known is not None or not wanted:
        return known
    turns = place.with_suffix(".turns")
    if given.anew:
        turns.unlink(missing_ok=True)
    champion, missing = given.bundle is None, dict[str, str]()
    base, peer = champion_parts(bench) if champion and part in {"forms", "controls", "rivals"} else (None, None)
    load = [round(each, 2) for each in os.getloadavg()]
    match part:
        case "forms":
            figures = of_forms(bench, peer, turns)
        case "batch":
            figures = of_batch(bench, turns)
        case "controls":
            figures = of_controls(bench, base, turns)
        case "mark":
            figures = of_watermark(bench, MARKED_TEXTS if champion else 4)
        case "server":
            figures = of_server(bench, given.style, given.model, given.precision, turns) if champion else {}
        case _:
            figures, missing = of_rivals(bench, peer, given.gguf, turns) if champion else ({}, {})
    found: Figures = {"about": about, "figures": figures, "missing": missing, "load": load}
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, canonical_json(found))
    return found


if __name__ == "__main__":
    main()
