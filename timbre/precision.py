"""In which numbers models run on this machine, resolved once, before any stage's key is formed.

Weights in bf16 or fp32, products in bf16 or fp32, on a CPU or a CUDA device: these decide results by more than the effects
that are reported, so they stand in the key of every stage that runs a model. `TIMBRE_DTYPE` pins them; `auto` takes bf16 on
a CUDA device and on CPUs that multiply it faster (units such as avx512_bf16 or AMX), else fp32. What `auto` came to is kept
in the home, so that every process and every later run says the same.
"""

import json
import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from timbre.config import Frozen
from timbre.settings import Settings, settings

Number = Literal["float32", "bfloat16"]
FASTER = 1.5
"""How many times as fast products in bf16 must be to be taken: below that they save too little to pay in rounding."""
_SHAPE, _ROUNDS = (512, 576, 1536), 7
_CPUINFO = Path("/proc/cpuinfo")
_UNITS = ("avx512_bf16", "amx_bf16", "bf16")


class Precision(Frozen):
    """What stands in a key: of weights, of products, and the kind of device."""

    weights: Number
    products: Number
    device: Literal["cpu", "cuda"]

    def sentence(self) -> str:
        """As the plan prints it."""
        return f"weights in {self.weights}, products in {self.products}, on {self.device}"


def precision() -> Precision:
    """The precision of this process.

    Raises:
        ValueError: a device that there is not.
    """
    return _resolved(settings())


@lru_cache
def _resolved(given: Settings) -> Precision:
    device = device_class(given)
    if given.dtype != "auto":
        return Precision(weights=given.dtype, products=given.dtype, device=device)
    number: Number = "bfloat16" if device == "cuda" or _cpu_prefers_bf16(given.home / "precision.json") else "float32"
    return Precision(weights=number, products=number, device=device)


def device_class(given: Settings) -> Literal["cpu", "cuda"]:
    """Where models run: `TIMBRE_DEVICE`, or a CUDA device if there is one. Torch is asked only where a driver is installed.

    Raises:
        ValueError: cuda was asked for and there is none, or an unknown device.
    """
    if given.device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"TIMBRE_DEVICE is {given.device!r}: choose auto, cpu or cuda")
    if given.device == "cpu" or (given.device == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if given.device == "cuda":
        raise ValueError("TIMBRE_DEVICE is cuda, but torch finds no CUDA device: set it to auto or cpu")
    return "cpu"


def _cpu_prefers_bf16(path: Path) -> bool:
    """Measured once a home and kind of CPU; a CPU that names no unit for bf16 is not measured."""
    cpu = _cpu()
    if not cpu["units"]:
        return False
    try:
        known: dict[str, Any] = json.loads(path.read_bytes())
        if known["cpu"] == cpu:
            return bool(known["times_as_fast"] >= FASTER)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    factor = round(times_as_fast(), 2)
    found = {"cpu": cpu, "times_as_fast": factor}
    with suppress(OSError):  # a read-only home costs a second a run, not the answer
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.{os.getpid()}")
        whole.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
        whole.replace(path)
    return factor >= FASTER


def times_as_fast() -> float:
    """Seconds of a product in fp32 over those of the same in bf16, the fastest of several taken in turn: a busy machine slows both."""
    import torch

    rows, inner, columns = _SHAPE
    operands = {
        kind: (torch.ones(rows, inner, dtype=kind), torch.ones(inner, columns, dtype=kind)) for kind in (torch.float32, torch.bfloat16)
    }
    best = dict.fromkeys(operands, float("inf"))
    for _ in range(_ROUNDS):
        for kind, (left, right) in operands.items():
            started = time.perf_counter()
            torch.mm(left, right)
            best[kind] = min(best[kind], time.perf_counter() - started)
    return best[torch.float32] / best[torch.bfloat16]


def _cpu() -> dict[str, Any]:
    """The kind of CPU as the system names it, and which of the units for bf16 it lists."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return {"name": facts.get("model name", os.uname().machine), "units": [unit for unit in _UNITS if unit in flags]}
