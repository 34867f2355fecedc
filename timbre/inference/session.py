"""A model at work for an evaluation: loaded when first needed, its results kept batch by batch.

What is computed is kept in the scratch folder, so that a killed run repeats one batch at most; the model itself is loaded
only if some batch is missing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from timbre.artifacts import Artifact, Input, Workspace, canonical_json, write_atomically
from timbre.config import SamplerConfig
from timbre.inference import generation
from timbre.inference.prompts import Prompt
from timbre.inference.scorer import Scorer
from timbre.inference.steering import Steering

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Item = TypeVar("Item")


@dataclass(frozen=True)
class Session:
    """The model among the inputs of a stage, with the adapter, if any, merged into it."""

    inputs: Mapping[str, Input]
    work: Workspace
    batch_tokens: int
    seed: int

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from timbre.models import load_tokenizer

        return load_tokenizer(self.artifact("model"))

    @cached_property
    def scorer(self) -> Scorer:
        """The model, with the adapter if there is one."""
        return self._scorer(self.artifact("adapter") if "adapter" in self.inputs else None)

    @cached_property
    def base(self) -> Scorer:
        """The model without any adapter, for what is mixed of the two."""
        return self._scorer(None)

    def _scorer(self, adapter: Artifact | None) -> Scorer:
        import torch

        from timbre.models import load_model
        from timbre.models.tokens import vocabulary_size
        from timbre.settings import settings

        torch.set_num_threads(settings().threads)
        return Scorer(load_model(self.artifact("model"), adapter=adapter), vocabulary_size(self.tokenizer))

    def artifact(self, name: str) -> Artifact:
        """An input that is an artifact."""
        value = self.inputs[name]
        assert isinstance(value, Artifact)
        return value

    def resumed(self, part: str, groups: Sequence[Sequence[Item]], compute: Callable[[Sequence[Item]], list[Any]]) -> list[Any]:
        """The results of every batch in order; those that an earlier, interrupted run has kept are read back."""
        files = [self.work.scratch / part / f"{number:05}.json" for number in range(len(groups))]
        done = sum(file.exists() for file in files)
        missing = [pair for pair in zip(groups, files, strict=True) if not pair[1].exists()]
        for group, file in self.work.progress.track(missing, part, total=len(groups), initial=done):
            write_atomically(file, canonical_json(compute(group)))
        return [row for file in files for row in json.loads(file.read_bytes())]

    def generate(
        self,
        part: str,
        prompts: Sequence[Prompt],
        serving: SamplerConfig,
        *,
        scored: bool = False,
        steering: Steering | None = None,
        marked: bool = False,
    ) -> list[dict[str, Any]]:
        """Every text that is asked for, {kind, prompt_id, sample, token_ids, ranks}, in the order of `prompts`.

        Args:
            scored: with `log_probs`, of each token at T = 1 in nats to four places.
            steering: the base is mixed in, as a server does where it is asked to.
            marked: whether texts at the serving sampler carry a watermark.

        Raises:
            FloatingPointError: the model gave NaN or infinite logits.
        """
        requests, rules = generation.every_text(prompts), generation.samplers(serving)
        groups = generation.batched(requests, self.batch_tokens, padded=generation.takes_positions(self.scorer.model))

        def compute(group: Sequence[generation.TextRequest]) -> list[Any]:
            forbidden = generation.forbidden_tokens(self.tokenizer, getattr(self.scorer.model, "generation_config", None))
            written = generation.continue_prompts(
                self.scorer, group, rules=rules, forbidden=forbidden, seed=self.seed, scored=scored,
                base=None if steering is None else self.base, steering=steering, mark=generation.MEASURED if marked else None,
            )  # fmt: skip
            rows: list[dict[str, Any]] = [
                {"kind": each.prompt.kind, "prompt_id": each.prompt.prompt_id, "sample": each.sample, "token_ids": ids, "ranks": ranks}
                for each, ids, ranks in zip(group, written.ids_BT.tolist(), written.ranks_BT.tolist(), strict=True)
            ]
            if written.log_probs_BT is not None:
                for row, log_probs in zip(rows, written.log_probs_BT.round(4).tolist(), strict=True):
                    row["log_probs"] = log_probs
            return rows

        rows = {(row["kind"], row["prompt_id"], row["sample"]): row for row in self.resumed(part, groups, compute)}
        assert len(rows) == len(requests), "two prompts of a kind share a name"
        return [rows[each.prompt.kind, each.prompt.prompt_id, each.sample] for each in requests]
