"""Pairs for dpo: a passage's own continuation, and the one that the base model writes after the same opening."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timbre.artifacts import digest_json, sha256_file, write_atomically
from timbre.models import device, head_weight
from timbre.progress import Progress
from timbre.training.data import Example
from timbre.training.parallel import World
from timbre.training.reading import Examples, Group, Groups

_FILE, _BATCH = "base-samples.safetensors", 16


def preference_pairs(
    model: Any,
    examples: Examples,
    *,
    prompt_tokens: int,
    vocab_size: int,
    seed: int,
    scratch: Path,
    progress: Progress,
    world: World,
) -> Groups:
    """(human text, base's sample) of each passage longer than the opening; both of the same length, loss after the opening.

    The opening is a passage's own prompt where it has one, else its first `prompt_tokens`.

    The samples are drawn at temperature 1 and kept in `scratch`, so that a resumed run compares with the same. Both are read as
    they are needed.

    Raises:
        ValueError: no passage is longer than the opening.
    """
    openings = np.maximum(examples.firsts_E, prompt_tokens)
    long = np.flatnonzero(examples.lengths_E > openings)
    if not len(long):
        raise ValueError(f"no passage is longer than {prompt_tokens} tokens: lower training.dpo_prompt_tokens")
    opened = [_Opened(int(number), int(openings[number]), int(examples.lengths_E[number])) for number in long]
    if world.first and not (scratch / _FILE).exists():
        _sample(model, examples, opened, vocab_size, seed, scratch / _FILE, progress)
    world.wait()
    drawn = _kept(scratch / _FILE)

    def read(place: int) -> Group:
        one = opened[place]
        own, sample = examples.read_text(one.number).token_ids_T, drawn(place)
        return Example(own, first_label=one.opening), Example(sample, first_label=one.opening)

    positions = [2 * (one.tokens - one.opening) for one in opened]
    return Groups(read, positions, digest_json([examples.digest, sha256_file(scratch / _FILE)]))


@dataclass(frozen=True, slots=True)
class _Opened:
    """An example that is longer than its opening."""

    number: int
    opening: int
    tokens: int


def _sample(
    model: Any, examples: Examples, opened: Sequence[_Opened], vocab_size: int, seed: int, path: Path, progress: Progress
) -> None:  # fmt: skip
    from safetensors.numpy import save

    home = head_weight(model).device
    model.to(device())  # what is to be sharded waits on the CPU, too slow a place to write
    batches = _of_one_opening([one.opening for one in opened])
    rows: dict[int, Any] = {}
    for number, batch in enumerate(progress.track(batches, "sampling the base", len(batches))):
        chosen, opening = [opened[place] for place in batch], opened[batch[0]].opening
        texts = [examples.read_text(one.number).token_ids_T[:opening] for one in chosen]
        openings = torch.tensor(np.stack(texts).astype(np.int64))
        longest = max(one.tokens for one in chosen)
        written = _continued(model, openings, longest - opening, vocab_size, seed + 1_000_003 * number).numpy()
        for place, one, row in zip(batch, chosen, written, strict=True):
            rows[place] = np.ascontiguousarray(row[: one.tokens].astype(np.int32))
    model.to(home)
    write_atomically(path, save({_name(place): rows[place] for place in sorted(rows)}))


def _of_one_opening(lengths: Sequence[int]) -> list[list[int]]:
    """Places in `lengths`, at most `_BATCH` together, whose openings are equally long."""
    alike = [list(places) for _, places in groupby(sorted(range(len(lengths)), key=lengths.__getitem__), key=lengths.__getitem__)]
    return [places[start : start + _BATCH] for places in alike for start in range(0, len(places), _BATCH)]


def _kept(path: Path) -> Callable[[int], Any]:
    """Reads the samples, which stay on disk, by place."""
    from safetensors import safe_open

    kept: Any = safe_open(path, framework="numpy")
    return lambda place: kept.get_tensor(_name(place))


def _name(place: int) -> str:
    return f"{place:06d}"


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
