"""One part of what only a GPU can show; `benchmarks/device.sh` runs them one after the other, each under its own time limit.

    python -m benchmarks.device PART [--out FOLDER] [--cpu] [--tiny] [--again]

tests       `pytest -m cuda`
onnx        a random decoder exported: ONNX Runtime on CUDA against torch (logits, batch with its cache in place), milliseconds a token
step-135m   seconds of a training step at the default model's shape: ours, transformers' own loss, a resident teacher
step-1b     the same at the shape of a Llama of 1.2 billion parameters, LoRA only
bf16        products and a LoRA step in bfloat16 over float32
memory      most memory of a LoRA step, ours over a resident teacher's
proof       `python -m benchmarks.proof --large` for a minute; goes on at the next run, its `files` belong in benchmarks/results/proof

A result is `PART.json`: {part, device, cuda, torch, tiny, seconds, figures}, or {…, skipped} with what is missing on this machine.
None of it has been run on a GPU yet.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

Figures = dict[str, Any]


class Skipped(Exception):
    """What this machine lacks for a part."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a part runs, and whether its shapes are tiny."""

    device: str
    tiny: bool

    def wait(self) -> None:
        """Until the device has done what it was told."""
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, action: Callable[[], Any], rounds: int = 5) -> float:
        """Wall-clock seconds of an action, median after two that do not count."""
        times = []
        for turn in range(rounds + 2):
            self.wait()
            began = time.perf_counter()
            action()
            self.wait()
            if turn > 1:
                times.append(time.perf_counter() - began)
        return median(times)

    def peak_mib(self, action: Callable[[], Any]) -> float:
        """The most that was allocated at once while an action ran, in MiB."""
        import torch

        if self.device != "cuda":
            from benchmarks.measuring import peak_bytes

            return peak_bytes(action) / 2**20
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        action()
        self.wait()
        return torch.cuda.max_memory_allocated() / 2**20


def llama(place: Place, size: str) -> Any:
    """A random Llama in float32 on the device: `135m` has the default model's shape."""
    import torch

    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise Skipped(f"needs transformers ({error})") from error
    torch.manual_seed(0)
    shapes: dict[str, dict[str, Any]] = {
        "tiny": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        "135m": {"vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9},
        "1b": {"vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    }
    heads = {"tiny": 2, "135m": 3, "1b": 8}
    shape, kv_heads = (shapes["tiny"], heads["tiny"]) if place.tiny else (shapes[size], heads[size])
    config = LlamaConfig(**shape, num_key_value_heads=kv_heads, max_position_embeddings=1024, tie_word_embeddings=True)
    with torch.device(place.device):
        model: Any = LlamaForCausalLM(config)
    return model.eval()


def tests(place: Place) -> Figures:
    """The project's tests that need a device."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/cuda"], capture_output=True, text=True, check=False)
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-300:]])[-1]
    if "No module named pytest" in done.stderr:
        raise Skipped("needs pytest")
    if done.returncode not in {0, 5}:
        raise RuntimeError(f"pytest -m cuda ended with {done.returncode}: {done.stdout[-2000:]}")
    return {"pytest": last}


def onnx(place: Place) -> Figures:
    """Logits, in-place cache and decode speed of an exported decoder on ONNX Runtime."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Skipped(f"needs onnxruntime-gpu, onnx and onnxscript ({error})") from error
    import numpy as np
    import torch

    from timbre.export.decoder import MODEL_FILE, trace_decoder
    from timbre.export.inplace import SERVING_FILE, write_serving
    from timbre.export.session import Decoder, on_cuda
    from timbre.export.weights import DATA_FILE, weights_of, write_weights

    model = llama(Place("cpu", place.tiny), "135m")
    model.set_attn_implementation("eager")
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (1, 24))
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        write_weights(trace_decoder(model, folder), weights_of(model), folder / DATA_FILE)
        in_place = write_serving(folder, MODEL_FILE, model.config.max_position_embeddings) and not on_cuda()
        decoder = Decoder.open(folder / (SERVING_FILE if in_place else MODEL_FILE))
        expected = model(torch.from_numpy(ids)).logits[0].numpy()
        prompt, cache = decoder.step(ids[:, :12], decoder.empty_cache(1))
        rows, steps = decoder.rows(), [prompt[0]]
        rows.join(cache)
        steps += [rows.step(ids[:, at]).copy() for at in range(12, ids.shape[1])]
        difference = float(np.abs(np.concatenate(steps) - expected).max())
        for _ in range(7):
            rows.join(cache)
        eight = place.seconds(lambda: rows.step(np.full(8, 5)), 10)
        alone = decoder.rows()
        alone.join(cache)
        one = place.seconds(lambda: alone.step(np.array([5])), 10)
        torch_ms = 1000 * place.seconds(_torch_step(model.to(place.device), torch.from_numpy(ids).to(place.device)), 10)
    if not difference < 1e-2:
        raise RuntimeError(f"ONNX Runtime's logits are {difference:g} from torch's")
    return {
        "provider": decoder.provider, "in_place": in_place, "max_abs_logit_difference": difference, "ms_per_token": 1000 * one,
        "torch_ms_per_token": torch_ms, "speedup": torch_ms / (1000 * one), "batch_gain_8": 8 * one / eight,
    }  # fmt: skip


def _torch_step(model: Any, ids: Any) -> Callable[[], Any]:
    from transformers import DynamicCache

    cache = DynamicCache()
    model(ids, past_key_values=cache, use_cache=True)
    return lambda: model(ids[:, :1], past_key_values=cache, use_cache=True)


def _steps(place: Place, size: str, adapter: str) -> dict[str, Callable[[], Any]]:
    """`benchmarks.step`'s kinds of a training step, with its batch on the device."""
    try:
        from benchmarks.step import Size, StepData, steps
    except ImportError as error:
        raise Skipped(f"needs what the extra `train` installs ({error})") from error
    import torch

    model = llama(place, size)
    with tempfile.TemporaryDirectory() as folder:
        data = StepData(model, model.config.vocab_size, Size(2, 32) if place.tiny else Size(4, 512), Path(folder) / "target")
    moved = {each.name: getattr(data.batch, each.name) for each in dataclasses.fields(data.batch)}
    data.batch = type(data.batch)(
        **{name: value.to(place.device) if isinstance(value, torch.Tensor) else value for name, value in moved.items()}
    )
    return {name: action for name, action in steps(data, adapter).items() if name not in {"score", "read"}}


def _ratios(place: Place, size: str, adapter: str) -> Figures:
    seconds = {name: place.seconds(action) for name, action in _steps(place, size, adapter).items()}
    sft = seconds["transformers' loss"]
    return {
        f"seconds_{adapter}": seconds,
        f"step_ratio_{adapter}": seconds["timbre"] / sft,
        f"kd_step_ratio_{adapter}": seconds["resident teacher"] / sft,
    }


def step_135m(place: Place) -> Figures:
    """Training steps at the default model's shape."""
    return _ratios(place, "135m", "lora") | _ratios(place, "135m", "full")


def step_1b(place: Place) -> Figures:
    """LoRA steps at the shape of a Llama of 1.2 billion parameters."""
    return _ratios(place, "1b", "lora")


def bf16(place: Place) -> Figures:
    """Products and a LoRA step in bfloat16."""
    import torch

    side = 256 if place.tiny else 4096
    a = torch.randn(side, side, device=place.device)
    products = {str(kind).removeprefix("torch."): place.seconds(_product(a.to(kind))) for kind in (torch.float32, torch.bfloat16)}
    step = _steps(place, "135m", "lora")["timbre"]

    def under_autocast() -> None:
        with torch.autocast(place.device, torch.bfloat16):
            step()

    plain, mixed = place.seconds(step), place.seconds(under_autocast)
    flops = {name: 2 * side**3 / seconds / 1e12 for name, seconds in products.items()}
    return {"tflops": flops, "step_fp32_s": plain, "step_bf16_s": mixed, "step_bf16_over_fp32": mixed / plain}


def _product(a: Any) -> Callable[[], Any]:
    return lambda: a @ a


def memory(place: Place) -> Figures:
    """The most memory of a LoRA step of each kind."""
    peaks = {name: place.peak_mib(action) for name, action in _steps(place, "135m", "lora").items()}
    return {"peak_mib": peaks, "over_resident_teacher": peaks["timbre"] / peaks["resident teacher"]}


def proof(place: Place) -> Figures:
    """The proof's large size, where that is written."""
    asked = subprocess.run([sys.executable, "-m", "benchmarks.proof", "--help"], capture_output=True, text=True, check=False)
    if asked.returncode or "--large" not in asked.stdout:
        raise Skipped("benchmarks.proof has no --large yet")
    if place.tiny:
        raise Skipped("the proof's large size has no tiny shape: it runs on a device only")
    command = [sys.executable, "-m", "benchmarks.proof", "--large", "--minutes", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    cells = Path(__file__).parent / "results" / "proof"
    files = {path.name: json.loads(path.read_bytes()) for path in sorted(cells.glob("*-large-*.json"))}
    return found | {"files": files, "unfinished": bool(found["large"])}


PARTS: dict[str, Callable[[Place], Figures]] = {
    "tests": tests, "onnx": onnx, "step-135m": step_135m, "step-1b": step_1b, "bf16": bf16, "memory": memory, "proof": proof,
}  # fmt: skip


def _unfinished(target: Path) -> bool:
    """Whether a part says that it goes on at its next run."""
    return bool(json.loads(target.read_bytes()).get("figures", {}).get("unfinished"))


def main() -> None:
    """Run a part and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/device"))
    parser.add_argument("--cpu", action="store_true", help="run on the CPU, to see that it runs")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes: no figure worth quoting")
    parser.add_argument("--again", action="store_true", help="run it although its result stands")
    given = parser.parse_args()
    target = given.out / f"{given.part}.json"
    if target.exists() and not given.again and not _unfinished(target):
        print(f"{given.part}: its result stands in {target}")
        return
    import torch

    if not given.cpu and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here: give --cpu (and --tiny) to try the script")
    device = "cpu" if given.cpu else "cuda"
    name = "CPU" if given.cpu else torch.cuda.get_device_name()
    about = {
        "part": given.part,
        "device": name,
        "cuda": None if given.cpu else torch.version.cuda,
        "torch": torch.__version__,
        "tiny": given.tiny,
    }
    began = time.perf_counter()
    try:
        result: Figures = about | {"figures": PARTS[given.part](Place(device, given.tiny))}
    except Skipped as missing:
        result = about | {"skipped": str(missing)}
    result["seconds"] = round(time.perf_counter() - began, 2)
    given.out.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
