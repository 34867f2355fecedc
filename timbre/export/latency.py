"""Milliseconds a token while writing, one text at a time: the served decoder against torch on the same weights, and against
the base model served in the same way."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from timbre.export.session import CUDA, Decoder, Ids
from timbre.settings import settings

WARM_UP = 2


def measure_latency(model: Any, decoder: Decoder, prompt: Sequence[int], tokens: int, vocab_size: int) -> dict[str, Any]:
    """Median over `tokens` cached steps after `prompt`, each side with its own cache and the same thread count.

    Wall clock: differs from run to run, and is the one file of a bundle that does.
    """
    onnx = statistics.median(_timed(_onnx_step(decoder, prompt, vocab_size), tokens))
    torch_ms = statistics.median(_timed(_torch_step(model, decoder, prompt, vocab_size), tokens))
    return {
        "onnx_ms_per_token": round(onnx, 3),
        "torch_ms_per_token": round(torch_ms, 3),
        "ratio": round(onnx / torch_ms, 4),
        "tokens": tokens,
        "provider": decoder.provider,
        "threads": settings().threads,
    }


def measure_against_base(
    candidate: Decoder, base: Decoder, prompt: Sequence[int], tokens: int, vocab_size: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """What the candidate costs beside the base over `tokens` cached steps: `base_ratio`, candidate ÷ base.

    The two take turns step by step, and change who begins, so that whatever else the machine does hits both alike. Each
    counts by the lower quartile of its steps: waiting for others only ever adds time.
    """
    steps = [_onnx_step(decoder, prompt, vocab_size) for decoder in (candidate, base)]
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + tokens):
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].append(_milliseconds(steps[side], clock))
    ours, theirs = (side[WARM_UP:] for side in times)
    return {
        "candidate_ms_per_token": round(_lower_quartile(ours), 3),
        "base_ms_per_token": round(_lower_quartile(theirs), 3),
        "base_ratio": round(_lower_quartile(ours) / _lower_quartile(theirs), 4),
    }


def _lower_quartile(times: Sequence[float]) -> float:
    return float(np.quantile(times, 0.25))


def _timed(step: Callable[[], None], tokens: int) -> list[float]:
    return [_milliseconds(step) for _ in range(WARM_UP + tokens)][WARM_UP:]


def _milliseconds(step: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    step()
    return 1000 * (clock() - started)


def _onnx_step(decoder: Decoder, prompt: Sequence[int], vocab_size: int) -> Callable[[], None]:
    logits, cache = decoder.step(np.array([prompt], np.int64), decoder.empty_cache(1))

    def step() -> None:
        nonlocal logits, cache
        chosen: Ids = np.argmax(logits[:, -1, :vocab_size], axis=-1).astype(np.int64)
        logits, cache = decoder.step(chosen[:, None], cache)

    return step


def _torch_step(model: Any, decoder: Decoder, prompt: Sequence[int], vocab_size: int) -> Callable[[], None]:
    import torch

    device = torch.device("cuda" if decoder.provider == CUDA and torch.cuda.is_available() else "cpu")
    model.to(device)
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([list(prompt)], device=device), use_cache=True)

    def step() -> None:
        nonlocal output
        with torch.inference_mode():
            chosen = output.logits[:, -1, :vocab_size].argmax(-1, keepdim=True)
            output = model(input_ids=chosen, past_key_values=output.past_key_values, use_cache=True)
            output.logits[0, -1, 0].item()  # wait for the device

    return step
