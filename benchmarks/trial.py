"""The steps of `benchmarks.recipe`, each an artifact of a store of its own, so that a trial goes on wherever it was ended.

references   the cross-fitted adapters, once for all recipes
target       the target of a recipe, by the release's own assembly with these adapters
student      the release's own training stage
likelihood   NLL and entropy of the student on every passage of a split
samples      its continuations of unseen prompts at one temperature
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recipes import PLAIN, RECIPES, Recipe, Size
from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace, canonical_json, write_atomically
from timbre.config import Frozen, SamplerConfig, TargetConfig
from timbre.corpus.documents import read_documents
from timbre.corpus.passages import Passage, select_passages
from timbre.models.adapters import WEIGHTS as ADAPTER_WEIGHTS
from timbre.settings import settings
from timbre.training.stage import STAGE as TRAINING


class Likelihood(Frozen):
    """What is scored."""

    split: str
    tokens: int
    passage_tokens: int
    temperatures: tuple[float, ...]


class Samples(Frozen):
    """What is written."""

    split: str
    prompts: int
    prompt_tokens: int
    new_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Trial:
    """Model, corpus and size of a trial, and where its artifacts lie."""

    size: Size
    model: Artifact
    corpus: Artifact
    replay: Path
    store: ArtifactStore
    seed: int = 1

    @cached_property
    def folds(self) -> int:
        return len({document.fold for document in read_documents(self.corpus, "train")})

    @cached_property
    def references(self) -> Artifact:
        return self.store.build(_REFERENCES, self.size.target(RECIPES[PLAIN], self.seed), {"corpus": self.corpus, "model": self.model})

    @property
    def references_exist(self) -> bool:
        """Whether `references` needs no training."""
        config = self.size.target(RECIPES[PLAIN], self.seed)
        key = _REFERENCES.key(config, {"corpus": self.corpus, "model": self.model})
        return self.store.find(_REFERENCES.name, key) is not None

    def reference_folders(self) -> dict[int, Path]:
        """The adapter of each fold: it has never seen that fold's documents."""
        names = self.references.manifest.files
        folders = {Path(name).parent for name in names if name.endswith(ADAPTER_WEIGHTS)}
        return {int(folder.parent.name.removeprefix("fold-")): self.references.path / folder for folder in sorted(folders)}

    def target(self, recipe: Recipe) -> Artifact:
        """Raises TargetRefused where the recipe's reference distribution is no better than the base model on unseen documents."""
        config = self.size.target(recipe if recipe.distribution else RECIPES[PLAIN], self.seed)
        return self.store.build(_TARGET, config, {"corpus": self.corpus, "model": self.model, "references": self.references})

    def student(self, recipe: Recipe) -> Artifact | None:
        """The trained adapter; None for the base model."""
        if not recipe.trained:
            return None
        inputs: dict[str, Input] = {
            "target": self.target(recipe), "corpus": self.corpus, "model": self.model, "replay": FileInput(self.replay)
        }  # fmt: skip
        return self.store.build(TRAINING, self.size.training(recipe, self.seed, self.folds), inputs)

    def likelihood(self, student: Artifact | None, split: str, temperatures: tuple[float, ...]) -> dict[float, list[dict[str, Any]]]:
        """By temperature, rows {item, cluster, nll, entropy, tokens}: sums in nats over a passage."""
        size = self.size
        config = Likelihood(split=split, tokens=size.likelihood_tokens, passage_tokens=size.passage_tokens, temperatures=temperatures)
        rows = self.store.build(_LIKELIHOOD, config, self._read_by(student)).json("rows.json")
        return {temperature: [row for row in rows if row["temperature"] == temperature] for temperature in temperatures}

    def samples(self, student: Artifact | None, split: str, temperature: float, top_p: float) -> list[dict[str, str]]:
        """Rows {cluster, text}: continuations of the prompts of `prompts`, in that order."""
        size = self.size
        config = Samples(
            split=split, prompts=size.prompts, prompt_tokens=size.prompt_tokens, new_tokens=size.new_tokens, temperature=temperature,
            top_p=top_p, seed=self.seed,
        )  # fmt: skip
        rows: list[dict[str, str]] = self.store.build(_SAMPLES, config, self._read_by(student)).json("rows.json")
        return rows

    def human(self, split: str) -> tuple[list[str], list[str]]:
        """Human texts as long as the samples, and their documents: the continuations of all windows of the split."""
        from timbre.models import load_tokenizer

        tokenizer, size = load_tokenizer(self.model), self.size
        windows = _windows(self.corpus, tokenizer, split, 4 * size.prompts, size.prompt_tokens + size.new_tokens)
        return [_text(tokenizer, window.token_ids[size.prompt_tokens :]) for window in windows], [window.doc_id for window in windows]

    def _read_by(self, student: Artifact | None) -> dict[str, Input]:
        inputs: dict[str, Input] = {"model": self.model, "corpus": self.corpus}
        return inputs | ({"adapter": student} if student is not None else {})


def _build_references(config: TargetConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.models import load_tokenizer, model_facts
    from timbre.targets.dataset import gather
    from timbre.targets.reference import cross_fit

    corpus, model = _artifact(inputs, "corpus"), _artifact(inputs, "model")
    dataset = gather(config, corpus, load_tokenizer(model), model_facts(model)["context"])
    scratch = workspace.scratch / "reference"
    for folder in cross_fit(model, dataset.training, config, scratch, workspace.progress).values():
        shutil.copytree(folder, workspace.output / folder.relative_to(scratch))


def _build_target(config: TargetConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.targets.assembly import assemble

    references, kept = _artifact(inputs, "references"), workspace.scratch / "reference"
    for name in references.manifest.files:  # where the assembly looks for adapters that are finished
        if not (kept / name).exists():
            write_atomically(kept / name, references.file(name).read_bytes())
    assemble(config, _artifact(inputs, "corpus"), _artifact(inputs, "model"), workspace)


def _build_likelihood(config: Likelihood, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.inference.scorer import batches
    from timbre.models import load_tokenizer

    tokenizer, scorer = load_tokenizer(_artifact(inputs, "model")), _scorer(inputs)
    documents = read_documents(_artifact(inputs, "corpus"), config.split)
    passages = select_passages(documents, tokenizer, budget_tokens=config.tokens, passage_tokens=config.passage_tokens, seed=0)
    groups = batches([passage for passage in passages if len(passage.token_ids) > 1], lambda passage: len(passage.token_ids), 1_024)
    rows = [row for group in workspace.progress.track(groups, "likelihood") for row in scored_at(scorer, group, config.temperatures)]
    rows.sort(key=lambda row: (row["temperature"], row["item"]))
    (workspace.output / "rows.json").write_bytes(canonical_json(rows))


def scored_at(scorer: Any, passages: Sequence[Passage], temperatures: Sequence[float]) -> list[dict[str, Any]]:
    """A row a passage and temperature; the passages go through the network once, and their prompts, if any, are not scored."""
    import torch

    from timbre.inference.scorer import right_padded

    with torch.inference_mode():
        ids_BT, mask_BT = right_padded([passage.token_ids.tolist() for passage in passages], scorer.device)
        hidden_BTD, rows = scorer.hidden(ids_BT, mask_BT), []
        for place, passage in enumerate(passages):
            n, first = len(passage.token_ids), passage.first_label
            for temperature in temperatures:  # (h/T)·Wᵀ = logits/T: these heads have no bias
                hidden_TD = hidden_BTD[place, first - 1 : n - 1] / temperature
                log_prob_T, entropy_T = scorer.scores(hidden_TD, ids_BT[place, first:n], entropy=True)
                rows.append(
                    {
                        "item": f"{passage.doc_id}#{passage.index}", "cluster": passage.doc_id, "temperature": temperature,
                        "nll": -float(log_prob_T.sum()), "entropy": float(entropy_T.sum()), "tokens": n - first,
                    }
                )  # fmt: skip
    return rows


def _build_samples(config: Samples, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.inference.generation import forbidden_tokens
    from timbre.models import load_tokenizer

    tokenizer, scorer = load_tokenizer(_artifact(inputs, "model")), _scorer(inputs)
    length = config.prompt_tokens + config.new_tokens
    windows = _windows(_artifact(inputs, "corpus"), tokenizer, config.split, 4 * config.prompts, length)
    prompts = windows[: min(config.prompts, len(windows) // 2)]
    forbidden = forbidden_tokens(tokenizer)
    written = _continued(scorer, prompts, config, forbidden, workspace)
    rows = [{"cluster": prompt.doc_id, "text": _text(tokenizer, ids)} for prompt, ids in zip(prompts, written, strict=True)]
    (workspace.output / "rows.json").write_bytes(json.dumps(rows, ensure_ascii=False, indent=1).encode())


def _continued(scorer: Any, prompts: Sequence[Passage], config: Samples, forbidden: Sequence[int], workspace: Workspace) -> np.ndarray:
    """Token ids (B, new_tokens). A prompt has random numbers of its own, the same for every student and temperature."""
    import torch
    from transformers import DynamicCache

    from timbre.inference.sampling import sample

    sampler, banned = SamplerConfig(temperature=config.temperature, top_p=config.top_p), torch.tensor(forbidden, dtype=torch.long)
    streams = [hashlib.sha256(f"{config.seed}/{prompt.doc_id}/{prompt.index}".encode()).digest()[:16] for prompt in prompts]
    numbers = np.stack([np.random.default_rng(int.from_bytes(stream, "big")).random(config.new_tokens) for stream in streams])
    uniform_BT = torch.tensor(numbers, device=scorer.device)
    start = np.stack([prompt.token_ids[: config.prompt_tokens] for prompt in prompts])
    ids_BT = torch.tensor(start, dtype=torch.long, device=scorer.device)
    mask_BS, cache, written = ids_BT.new_ones(len(prompts), config.prompt_tokens + config.new_tokens), DynamicCache(), []
    with torch.inference_mode():
        for step in workspace.progress.track(range(config.new_tokens), f"samples at {config.temperature:g}"):
            hidden_BTD = scorer.hidden(ids_BT, mask_BS[:, : config.prompt_tokens + step], cache)
            logits_BV = scorer.logits(hidden_BTD[:, -1]).index_fill(-1, banned.to(scorer.device), float("-inf"))
            ids_BT = sample(logits_BV, uniform_BT[:, step], sampler)[:, None]
            written.append(ids_BT)
    return torch.cat(written, dim=1).cpu().numpy()


def _windows(corpus: Artifact, tokenizer: Any, split: str, count: int, length: int) -> list[Passage]:
    """Up to `count` windows of exactly `length` tokens, one of every document before the second of any.

    Raises:
        ValueError: fewer than four.
    """
    documents = read_documents(corpus, split)
    budget = (count + len(documents)) * length  # documents end in shorter windows, which are passed over
    found = select_passages(documents, tokenizer, budget_tokens=budget, passage_tokens=length, seed=0)
    whole = [passage for passage in found if len(passage.token_ids) == length][:count]
    if len(whole) < 4:
        raise ValueError(
            f"the {split} documents hold {len(whole)} windows of {length} tokens and 4 are the least: give the corpus more text"
        )
    return whole


def _scorer(inputs: Mapping[str, Input]) -> Any:
    import torch

    from timbre.inference.scorer import Scorer
    from timbre.models import load_model, model_facts

    torch.set_num_threads(settings().threads)
    model = _artifact(inputs, "model")
    return Scorer(
        load_model(model, adapter=_artifact(inputs, "adapter") if "adapter" in inputs else None), model_facts(model)["vocab_size"]
    )


def _text(tokenizer: Any, ids: Sequence[int] | np.ndarray) -> str:
    return str(tokenizer.decode([int(token) for token in ids], skip_special_tokens=True))


def _artifact(inputs: Mapping[str, Input], name: str) -> Artifact:
    value = inputs[name]
    assert isinstance(value, Artifact), f"the input {name!r} is an artifact"
    return value


_REFERENCES: Stage[TargetConfig] = Stage("recipe-references", 1, _build_references)
_TARGET: Stage[TargetConfig] = Stage("recipe-target", 1, _build_target)
_LIKELIHOOD: Stage[Likelihood] = Stage("recipe-likelihood", 1, _build_likelihood)
_SAMPLES: Stage[Samples] = Stage("recipe-samples", 1, _build_samples)
