"""Pairs for dpo: a passage's own continuation, and the one that the base model writes after the same opening."""

from collections.abc import Sequence
from itertools import groupby
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

    The opening is a passage's own prompt where it has one, else its first `prompt_tokens`.

    The samples are drawn at temperature 1 and kept in `scratch`, so that a resumed run compares with the same.

    Raises:
        ValueError: no passage is longer than the opening.
    """
    opened = [Example(one.token_ids_T, first_label=max(one.first_label, prompt_tokens)) for one in examples]
    long = [example for example in opened if example.positions]
    if not long:
        raise ValueError(f"no passage is longer than {prompt_tokens} tokens: lower training.dpo_prompt_tokens")
    if world.first and not (scratch / _FILE).exists():
        _sample(model, long, vocab_size, seed, scratch / _FILE, progress)
    world.wait()
    drawn = _kept(scratch / _FILE)
    return [(own, Example(sample, first_label=own.first_label)) for own, sample in zip(long, drawn, strict=True)]


def _sample(model: Any, examples: Sequence[Example], vocab_size: int, seed: int, path: Path, progress: Progress) -> None:
    from safetensors.numpy import save

    home = head_weight(model).device
    model.to(device())  # what is to be sharded waits on the CPU, too slow a place to write
    batches = _of_one_opening(examples)
    rows: dict[int, Any] = {}
    for number, batch in enumerate(progress.track(batches, "sampling the base", len(batches))):
        chosen, opening = [examples[place] for place in batch], examples[batch[0]].first_label
        openings = torch.tensor(np.stack([example.token_ids_T[:opening] for example in chosen]).astype(np.int64))
        longest = max(len(example.token_ids_T) for example in chosen)
        written = _continued(model, openings, longest - opening, vocab_size, seed + 1_000_003 * number).numpy()
        for place, example, row in zip(batch, chosen, written, strict=True):
            rows[place] = np.ascontiguousarray(row[: len(example.token_ids_T)].astype(np.int32))
    model.to(home)
    write_atomically(path, save({f"{place:06d}": rows[place] for place in sorted(rows)}))


def _of_one_opening(examples: Sequence[Example]) -> list[list[int]]:
    """Places in `examples`, at most `_BATCH` together, whose openings are equally long."""
    lengths = [example.first_label for example in examples]
    alike = [list(places) for _, places in groupby(sorted(range(len(examples)), key=lengths.__getitem__), key=lengths.__getitem__)]
    return [places[start : start + _BATCH] for places in alike for start in range(0, len(places), _BATCH)]


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
