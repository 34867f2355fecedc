"""OpenAI's forms of an answer, whole and in chunks, with `timbre` beside them: which version wrote it, and with which seed."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from timbre.inference.steering import Steering
from timbre.serving.passage import Finish, Piece, Weighed

Kind = Literal["completions", "chat"]


@dataclass
class Choice:
    """One text as it comes."""

    text: str = ""
    weighed: list[Weighed] = field(default_factory=list)
    finish: Finish | None = None
    tokens: int = 0


@dataclass(frozen=True)
class Form:
    """How the answers to one request are dressed."""

    kind: Kind
    model: str
    version: int
    bundle: str
    style: str
    seed: int
    logprobs: bool
    prompt_tokens: int
    steering: Steering | None = None
    blend: Sequence[tuple[str, int, float]] = ()
    """Styles that were blended in, with version and share."""
    baseline: str | None = None
    """The objective of the baseline that writes instead of the version."""
    refined: Mapping[str, Any] | None = None
    """What refinement did."""
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def about(self) -> dict[str, Any]:
        """What every answer and every chunk says of its writer."""
        about: dict[str, Any] = {"style": self.style, "version": self.version, "bundle": self.bundle, "seed": self.seed}
        if self.baseline is not None:
            about["baseline"] = self.baseline
        elif self.steering is not None:
            about |= self.steering.model_dump(exclude_none=True)
        if self.blend:
            about["blend"] = {style: {"version": version, "share": share} for style, version, share in self.blend}
        return about if self.refined is None else about | {"refine": dict(self.refined)}

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        return self._head(chunk=False) | {
            "choices": [self._whole_choice(number, choice) for number, choice in enumerate(choices)],
            "usage": self.usage(choices),
            "timbre": self.about,
        }

    def first(self, number: int) -> dict[str, Any] | None:
        """The chunk that opens a choice; completions have none."""
        return None if self.kind == "completions" else self._chunk(number, {"role": "assistant", "content": ""}, None, None)

    def piece(self, number: int, piece: Piece, offset: int) -> dict[str, Any]:
        """A chunk with text; `offset` is how many characters of its choice came before."""
        weighed = self._logprobs(piece.weighed, offset) if self.logprobs else None
        return self._chunk(number, {"content": piece.text}, weighed, None)

    def last(self, number: int, finish: Finish) -> dict[str, Any]:
        """The chunk that closes a choice."""
        return self._chunk(number, {}, None, finish)

    def counts(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """The chunk with the counts, if it was asked for."""
        return self._head(chunk=True) | {"choices": [], "usage": self.usage(choices), "timbre": self.about}

    def usage(self, choices: Iterable[Choice]) -> dict[str, int]:
        written = sum(choice.tokens for choice in choices)
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": written, "total_tokens": self.prompt_tokens + written}

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        prefix, kind = ("cmpl", "text_completion") if self.kind == "completions" else ("chatcmpl", "chat.completion")
        if chunk and self.kind == "chat":
            kind += ".chunk"
        return {
            "id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": f"v{self.version}-{self.bundle[:12]}",
        }  # fmt: skip

    def _chunk(self, number: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: Finish | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": number, "logprobs": logprobs, "finish_reason": finish}
        choice |= {"delta": delta} if self.kind == "chat" else {"text": delta.get("content", "")}
        return self._head(chunk=True) | {"choices": [choice], "timbre": self.about}

    def _whole_choice(self, number: int, choice: Choice) -> dict[str, Any]:
        weighed = self._logprobs(choice.weighed, 0) if self.logprobs else None
        body: dict[str, Any] = {"index": number, "logprobs": weighed, "finish_reason": choice.finish}
        if self.kind == "chat":
            return body | {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
        return body | {"text": choice.text}

    def _logprobs(self, weighed: Sequence[Weighed], offset: int) -> dict[str, Any]:
        if self.kind == "chat":
            return {"content": [_of_chat(token) for token in weighed], "refusal": None}
        offsets = []
        for token in weighed:
            offsets.append(offset)
            offset += len(token.text)
        return {
            "tokens": [token.token for token in weighed],
            "token_logprobs": [token.logprob for token in weighed],
            "top_logprobs": [
                {text: logprob for _, text, logprob in reversed(token.top)} for token in weighed
            ],  # of equal texts the likelier
            "text_offset": offsets,
        }


def _of_chat(token: Weighed) -> dict[str, Any]:
    return _one(token.token, token.logprob) | {"top_logprobs": [_one(text, logprob) for _, text, logprob in token.top]}


def _one(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()) if "�" not in text else None}
