"""A judge that is a causal language model on this machine: the likeliest of the three answers, always the same one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact
from timbre.judging.question import LETTERS, Choice, Reply

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from timbre.inference.scorer import Scorer


@dataclass(frozen=True)
class LocalJudge:
    """Compares the log-probabilities of "A", "B" and "tie" after the question, in the model's chat form if it has one."""

    name: str
    model: Artifact
    parallel: int = 1

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": "local", "model": self.model.digest}

    @cached_property
    def _tokenizer(self) -> "PreTrainedTokenizerBase":
        from timbre.models import load_tokenizer

        return load_tokenizer(self.model)

    @cached_property
    def _scorer(self) -> "Scorer":
        import torch

        from timbre.inference.scorer import Scorer
        from timbre.models import load_model
        from timbre.models.tokens import vocabulary_size
        from timbre.settings import settings

        torch.set_num_threads(settings().threads)
        return Scorer(load_model(self.model), vocabulary_size(self._tokenizer))

    def reply_to(self, question: str) -> Reply:
        """The likeliest answer; of two that are equally likely, the tie.

        Raises:
            ValueError: the question is longer than the model's context.
            FloatingPointError: the model gave NaN.
        """
        before, answers = self._token_ids(question)
        room = getattr(self._scorer.model.config, "max_position_embeddings", None)
        needed = len(before) + max(map(len, answers.values()))
        if room is not None and needed > room:
            raise ValueError(f"a question takes {needed} tokens and {self.name} holds {room}: ask about shorter texts with --words")
        scores = self._log_probabilities(before, answers)
        best = max(scores.values())
        winners = [choice for choice, score in scores.items() if score == best]
        detail = {"log_probabilities": {LETTERS[choice]: round(score, 6) for choice, score in scores.items()}}
        return Reply(winners[0] if len(winners) == 1 else "tie", detail=detail)

    def _token_ids(self, question: str) -> tuple[list[int], dict[Choice, list[int]]]:
        """The question's tokens, and those of each answer. A text in it that spells a control token ends no turn."""
        from timbre.models.tokens import boundary_ids, chat_ids, text_ids

        if getattr(self._tokenizer, "chat_template", None):
            before, space = chat_ids([{"role": "user", "content": question}], self._tokenizer), ""
        else:
            before, space = [*boundary_ids(self._tokenizer), *text_ids(question + "\nAnswer:", self._tokenizer)], " "
        return before, {choice: text_ids(space + letter, self._tokenizer) for choice, letter in LETTERS.items()}

    def _log_probabilities(self, before: Sequence[int], answers: Mapping[Choice, Sequence[int]]) -> dict[Choice, float]:
        """Σ log p of each answer's tokens. Answers of one token are read off the same forward pass."""
        import torch

        from timbre.inference.scorer import right_padded

        rows = list(dict.fromkeys(tuple(answer[:-1]) for answer in answers.values()))
        ids_BT, mask_BT = right_padded([[*before, *row] for row in rows], self._scorer.device)
        with torch.inference_mode():
            hidden_BTD = self._scorer.hidden(ids_BT, mask_BT)
            result: dict[Choice, float] = {}
            for choice, answer in answers.items():
                places = slice(len(before) - 1, len(before) - 1 + len(answer))
                wanted = torch.tensor(answer, dtype=torch.long, device=self._scorer.device)
                scored, _ = self._scorer.scores(hidden_BTD[rows.index(tuple(answer[:-1])), places], wanted, entropy=False)
                result[choice] = float(scored.sum())
        return result
