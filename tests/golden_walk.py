"""A tiny release, built step by step, and what each step left: file by file, in a form that says whether behaviour changed.

What an artifact holds depends on more than behaviour: digests of what came before it, where it was built, how a library lays out
a file. So its files are brought to a form without these: digests are blotted out, tables and tensors are read as values, and
of pictures only the names are kept.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.tiny_policy import LEARNS
from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input
from timbre.benchmarks.stage import BenchmarkConfig, score_benchmark
from timbre.config import ReleaseConfig, SequenceConfig
from timbre.export.base import resolve_base
from timbre.export.genai import GenaiConfig, resolve_genai
from timbre.export.quantised import QuantisedConfig, resolve_quantised
from timbre.progress import SILENT
from timbre.serving.engines import ENGINES, SERVED, EnginesConfig, ServedConfig
from timbre.settings import PROJECT_ROOT, settings
from timbre.versions import versions

POLICY = f"""
name = "golden"
strictness = 1
summary = "For a tiny model in tests."

{LEARNS}"""
SECTIONS: dict[str, dict[str, Any]] = {
    "target": {
        "train_tokens": 2048, "passage_tokens": 128, "top_k": 16, "admission_tokens": 512, "reference_learning_rate": 0.01,
        "reference_epochs": 4, "batch_tokens": 512,
    },
    "training": {"learning_rate": 0.01, "epochs": 2, "batch_tokens": 512, "validation_tokens": 512, "replay_items": 1, "evaluate_every": 4},
    "evaluation": {
        "likelihood_tokens": 1024, "passage_tokens": 128, "prompts": 3, "new_tokens": 16, "memorisation_prompts": 2, "bias_items": 12,
        "fact_items": 12, "score": True, "encoder": False, "coherence_texts": 2,
    },
    "misuse": {"requests": 2, "samples": 1, "new_tokens": 8, "diversity": (0.5,)},
    "export": {"parity_prompts": 2, "parity_tokens": 4, "latency_tokens": 2},
    "gate": {"policy": "golden"},
}  # fmt: skip
SEQUENCE_LEVEL = {
    "level": "sequence", "sequence": SequenceConfig(prompts=40, completions=2, prompt_tokens=8, new_tokens=32, epochs=1),
}  # fmt: skip
ENGINES_SMALL = EnginesConfig(texts=20, samples=2, prompt_tokens=8, new_tokens=8, passages=4, window=16, probes=12)
PAIRS = """,sent_more,sent_less,stereo_antistereo,bias_type
0,The old storm waited near the gull.,The small storm waited near the gull.,stereo,age
1,The quiet cook rose near the oven.,The heavy cook rose near the oven.,antistereo,socioeconomic
"""
_DIGEST = re.compile(rb"\b[0-9a-f]{64}\b")
_DRAWN = re.compile(rb"<svg.*?</svg>|data:[a-z]+/[^\"')]*", re.DOTALL)
_PICTURES = (".png", ".svg")
_FOREIGN = "data_docs/"
"""Pages that Great Expectations draws, fonts and all."""
_DEPTH = 2


@dataclass(frozen=True)
class Left:
    """What one step left."""

    stage: str
    version: int
    settings: str
    """sha256 of the configuration it was built with."""
    needs: tuple[str, ...]
    """Steps whose artifacts it reads."""
    read: dict[str, str]
    """Files under version control that it reads -> their sha256."""
    layout: dict[str, str]
    """File -> what is in it, whatever the values."""
    values: dict[str, str]
    """File -> sha256 of its values."""


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """A checkout and a home in `folder`; `settings()` speak of them."""
    root = folder / "root"
    for name in ("data", "mlflow"):
        shutil.copytree(PROJECT_ROOT / name, root / name)
    (root / "mlflow" / "policies" / "golden.toml").write_text(POLICY)
    before = dict(os.environ)
    os.environ |= {"TIMBRE_ROOT": str(root), "TIMBRE_HOME": str(folder / "home")}
    settings.cache_clear()
    try:
        yield root
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def walk(folder: Path, model: Path, texts: list[tuple[str, str]]) -> dict[str, Left]:
    """Build every step of a tiny release in `folder`."""
    from tests.building import add_source

    with place(folder) as root:
        lines = root / "texts.jsonl"
        lines.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in texts))
        add_source(lines, "golden", "various", "CC0-1.0")
        shutil.copytree(model, folder / "tiny-llama")
        given = SECTIONS | {"style": "golden", "model": {"name": str(folder / "tiny-llama")}, "baseline": {"objective": None}}
        config = ReleaseConfig.model_validate(given)
        store = ArtifactStore(folder / "home", SILENT)
        built: dict[str, Artifact] = {}
        needs: dict[str, tuple[str, ...]] = {}
        for step in pipeline.steps_of(config):
            needs[step.name] = tuple(dict.fromkeys(pipeline.needs_of(step, config).values()))
            built[step.name] = pipeline.build(step.name, config, store, built)
        for step in ("completions", "sequence"):
            level = config.model_copy(update={"target": config.target.model_copy(update=SEQUENCE_LEVEL)})
            built[step] = pipeline.build(step, level, store, built | {"token_adapter": built["adapter"]})
            needs[step] = ("target", "corpus", "model", "adapter") if step == "completions" else ("completions",)
        built["base"] = resolve_base(built["model"], built["decoder"], store)
        built["quantised"] = resolve_quantised(QuantisedConfig(tokens=256, window=32), built["bundle"], built["corpus"], store)
        forms = {"int8": built["quantised"]}
        forms["int4"] = resolve_quantised(QuantisedConfig(bits=4, tokens=256, window=32), built["bundle"], built["corpus"], store)
        built["quantised_4"] = forms["int4"]
        inputs: dict[str, Input] = {"bundle": built["bundle"], "corpus": built["corpus"], **forms, **pipeline.inputs.probes(config)}
        inputs["policy"] = FileInput(root / "mlflow" / "policies" / "quick.toml")
        built["engines"] = store.build(ENGINES, ENGINES_SMALL, inputs)
        served = {"bundle": built["bundle"], "engines": built["engines"], **forms}
        built["served"] = store.build(SERVED, ServedConfig(default="fp32"), served)
        if find_spec("onnxruntime_genai") is not None:
            built["genai"] = resolve_genai(GenaiConfig(), built["model"], built["adapter"], store)
        needs |= {
            "base": ("model", "decoder"), "quantised": ("bundle", "corpus"), "quantised_4": ("bundle", "corpus"),
            "genai": ("model", "adapter"),
            "engines": ("bundle", "corpus", "quantised", "quantised_4"), "served": ("bundle", "engines", "quantised", "quantised_4"),
        }  # fmt: skip
        (root / "pairs.csv").write_text(PAIRS)
        benchmark = BenchmarkConfig(benchmark="crows-pairs")
        built["benchmark"] = score_benchmark(benchmark, built["model"], None, FileInput(root / "pairs.csv"), store)
    known = [value for artifact in built.values() for value in (artifact.digest, artifact.manifest.key)]
    return {name: left(artifact, needs.get(name, ("model",)), known, str(folder)) for name, artifact in built.items()}


def left(artifact: Artifact, needs: tuple[str, ...], known: list[str], place: str) -> Left:
    """The comparable form of an artifact."""
    manifest = artifact.manifest
    layout, values = {}, {}
    for name in sorted(manifest.files):
        if name.startswith(_FOREIGN):
            continue
        content = _content(artifact.path / name)
        layout[name] = _sha(_shape(content))
        if name not in manifest.timings and not name.endswith(_PICTURES):
            values[name] = _sha(_blotted(content, known, place))
    read = {name: digest[:16] for name, digest in sorted(manifest.inputs.items()) if digest not in known}
    return Left(manifest.stage, manifest.stage_version, _sha(manifest.config), needs, read, layout, values)


def platform() -> dict[str, str]:
    """What decides the values of stages that run a model: the libraries, and how this machine multiplies."""
    import torch

    return dict(versions()) | {"capability": torch.backends.cpu.get_cpu_capability(), "arithmetic": arithmetic()}


def arithmetic() -> str:
    """The first digits of a sha256 of what comes out of a few sums, products and gradients in float32 on this machine's CPU.

    Kernels are chosen by the kind of CPU, its maker, and the number of threads: two machines of one capability may round apart.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    found = hashlib.sha256()
    for rows, inner, columns in ((1, 32, 32), (7, 32, 64), (128, 64, 32), (200, 32, 384), (509, 384, 32)):
        left, right = (torch.randn(shape, generator=generator).requires_grad_() for shape in ((rows, inner), (inner, columns)))
        product = left @ right
        loss = (
            product.log_softmax(-1).exp().square().sum()
            + torch.nn.functional.silu(product).mean()
            + (product.square().mean(-1) + 1e-5).rsqrt().sum()
        )
        loss.backward()
        for tensor in (product, loss, left.grad, right.grad):
            assert tensor is not None
            found.update(tensor.detach().numpy().tobytes())
    query, key, value = (torch.randn(2, 4, 33, 8, generator=generator) for _ in range(3))
    found.update(torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).numpy().tobytes())
    return found.hexdigest()[:16]


def _content(path: Path) -> Any:
    """A file as values; text and what is not understood as they are."""
    match path.suffix:
        case ".json":
            return json.loads(path.read_bytes())
        case ".jsonl":
            return [json.loads(line) for line in path.read_bytes().splitlines()]
        case ".parquet" | ".arrow":
            table = _table(path)
            return {"columns": {field.name: str(field.type) for field in table.schema}, "rows": table.to_pylist()}
        case ".safetensors":
            from safetensors.numpy import load_file

            return {name: [str(value.dtype), list(value.shape), _sha(value.tobytes())] for name, value in load_file(path).items()}
    return path.read_bytes()


def _table(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    return parquet.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()


def _shape(content: Any, depth: int = _DEPTH) -> Any:
    """Which fields there are, down to a depth where the data begin to name them."""
    match content:
        case {"columns": columns, "rows": _}:
            return columns
        case dict():
            return {name: _shape(value, depth - 1) for name, value in content.items()} if depth else "object"
        case list():
            fields = [_shape(one, depth - 1) for one in content if isinstance(one, dict)]
            return {name: value for one in fields if isinstance(one, dict) for name, value in one.items()} if fields else "list"
        case bytes():
            return "bytes"
    return "value"


def _blotted(content: Any, known: list[str], place: str) -> bytes:
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True, default=str).encode()
    for value in known:
        data = re.sub(value[:12].encode() + b"[0-9a-f]*", b"#", data)
    return _DRAWN.sub(b"#", _DIGEST.sub(b"#", data.replace(place.encode(), b"#")))


def _sha(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(data).hexdigest()[:16]
