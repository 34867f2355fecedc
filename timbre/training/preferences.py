"""Pairs for dpo: a passage's own continuation, and the one that the base model writes after the same opening."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timbre.artifacts import write_atomically
from timbre.models import device, head_weight
from timbre.progress import Progress
from timbre.training.data import Example
from timbre.training.parallel import World

_FILE, _BATCH = "base-samples.safetensors", 16


def preference_pairs(
    model: Any,
    examples: Sequence[Example],
    *,
    prompt_tokens: int,
    vocab_size: int,
    seed: int,
    scratch: Path,
    progress: Progress,
    world: World,
) -> list[tuple[Example, Example]]:
    """(human text, base's sample) of each passage longer than the opening; both of the same length, loss after the opening.

    The samples are drawn at temperature 1 and kept in `scratch`, so that a resumed run compares with the same.

    Raises:
        ValueError: no passage is longer than the opening.
    """
    long = [example for example in examples if len(example.token_ids_T) > prompt_tokens]
    if not long:
        raise ValueError(f"no passage is longer than {prompt_tokens} tokens: lower training.dpo_prompt_tokens")
    if world.first and not (scratch / _FILE).exists():
        _sample(model, long, prompt_tokens, vocab_size, seed, scratch / _FILE, progress)
    world.wait()
    drawn = _kept(scratch / _FILE)
    human = [Example(example.token_ids_T, first_label=prompt_tokens) for example in long]
    return [(own, Example(sample, first_label=prompt_tokens)) for own, sample in zip(human, drawn, strict=True)]


def _sample(
    model: Any, examples: Sequence[Example], prompt_tokens: int, vocab_size: int, seed: int, path: Path, progress: Progress
) -> None:
    from safetensors.numpy import save

    home = head_weight(model).device
    model.to(device())  # what is to be sharded waits on the CPU, too slow a place to write
    batches = [examples[start : start + _BATCH] for start in range(0, len(examples), _BATCH)]
    rows: list[Any] = []
    for number, batch in enumerate(progress.track(batches, "sampling the base", len(batches))):
        openings = torch.tensor(np.stack([example.token_ids_T[:prompt_tokens] for example in batch]).astype(np.int64))
        longest = max(len(example.token_ids_T) for example in batch)
        written = _continued(model, openings, longest - prompt_tokens, vocab_size, seed + 1_000_003 * number).numpy()
        rows += [row[: len(example.token_ids_T)].astype(np.int32) for row, example in zip(written, batch, strict=True)]
    model.to(home)
    write_atomically(path, save({f"{number:06d}": np.ascontiguousarray(row) for number, row in enumerate(rows)}))


def _kept(path: Path) -> list[Any]:
    from safetensors.numpy import load

    kept = load(path.read_bytes())
    return [kept[name] for name in sorted(kept)]


def _continued(model: Any, openings_BT: Tensor, new_tokens: int, vocab_size: int, seed: int) -> Tensor:
    """Openings and what the model writes after them at temperature 1, real tokens only; ends of text do not stop it."""
    generator = torch.Generator().manual_seed(seed)
    rows, cache = openings_BT, None
    fed = openings_BT.to(head_weight(model).device)
    with torch.no_grad():
        for _ in range(new_tokens):
            output = model(input_ids=fed, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            chances = output.logits[:, -1, :vocab_size].float().softmax(-1).cpu()
            drawn = torch.multinomial(chances, 1, generator=generator)
            rows, fed = torch.cat([rows, drawn], -1), drawn.to(fed.device)
    return rows
