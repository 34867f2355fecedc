"""Writing text from a bundle, piece by piece: tokenizers, ONNX Runtime and numpy; no torch.

engine = Engine.open(bundle)
for piece in engine.stream("It was", max_new_tokens=80, seed=1):
    print(piece, end="", flush=True)
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact, HashCache
from timbre.config import SamplerConfig
from timbre.export.facts import BundleFacts
from timbre.export.hostile import check_bundle
from timbre.export.quantised import precision_of
from timbre.export.session import Decoder, Logits
from timbre.inference.sampling import sample
from timbre.inference.spans import Spans
from timbre.inference.steering import Steering, blended, steer
from timbre.models.tokens import backend_text_ids
from timbre.serving.detokenizer import Detokenizer
from timbre.serving.writer import PREFILL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from timbre.serving.runtimes import Rows, Runtime


class Engine:
    """A verified bundle, loaded. `stream` may be called from several threads: it keeps no state between texts."""

    def __init__(self, facts: BundleFacts, tokenizer: "Tokenizer", decoder: "Runtime", digest: str, precision: str = "fp32") -> None:
        self.facts = facts
        self.precision = precision
        """Numbers of the weights: fp32, int8 or int4."""
        self.digest = digest
        self.tokenizer = tokenizer
        self.decoder = decoder
        tokens = np.fromiter(tokenizer.get_vocab().values(), np.int64)
        self.unused = np.setdiff1d(np.arange(facts.vocab_size), tokens)
        """Ids with gaps: rows that stand for no token and are never drawn."""

    @classmethod
    def open(cls, bundle: Path, hashes: HashCache | None = None) -> "Engine":
        """Verify and load a bundle.

        Args:
            bundle: its folder, with manifest.json.
            hashes: remembered file hashes; without them every file is read once.

        Raises:
            IntegrityError: a file is not what the manifest says.
            ValueError: this is an artifact of another stage, or `TIMBRE_DEVICE=cuda` and there is none.
        """
        return cls.of(Artifact.open(bundle, hashes))

    @classmethod
    def of(cls, artifact: Artifact, weights: "Path | Runtime | None" = None) -> "Engine":
        """Load a bundle that was verified, unless it leads out of its folder (`timbre.export.hostile`).

        Args:
            weights: another form of its decoder (`timbre.export.quantised`), or what runs it instead (`timbre.serving.runtimes`); None
                for its own.

        Raises: as `open`.
        """
        from tokenizers import Tokenizer

        if artifact.stage != "bundle":
            raise ValueError(f"{artifact.path} holds a {artifact.stage}, not a bundle: make one with `timbre stage export`")
        facts = BundleFacts.read(artifact)
        check_bundle(artifact, facts.onnx)
        if facts.serving is not None:
            check_bundle(artifact, facts.serving)
        tokenizer = Tokenizer.from_file(str(artifact.file("tokenizer.json")))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # "<|im_end|>" in a prompt is text like any other
        if weights is not None and not isinstance(weights, Path):
            return cls(facts, tokenizer, weights, artifact.digest)
        decoder = Decoder.open(weights or artifact.file(facts.graph))
        return cls(facts, tokenizer, decoder, artifact.digest, "fp32" if weights is None else precision_of(weights))

    @property
    def provider(self) -> str:
        """What runs the model, e.g. `CPUExecutionProvider`."""
        return self.decoder.provider

    def try_out(self) -> None:
        """Read two tokens, one after the other: a bundle that was verified may still hold a model that does not write.

        Raises:
            ValueError: it gives no numbers.
        """
        row, tokens = _Stepped(self.decoder), np.setdiff1d(np.arange(self.facts.vocab_size), self.unused)[:2].tolist()
        for logits in (row.read(tokens[:1]), row.step(tokens[-1])):
            if not np.isfinite(logits[0, : self.facts.vocab_size]).any():
                raise ValueError(f"the model in bundle {self.digest[:12]} gives no numbers: it is not served")

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int = 0,
        steering: Steering | None = None,
        base: Decoder | None = None,
        blend: "Sequence[tuple[Runtime, float]]" = (),
        spans: tuple[Spans, int] | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> Iterator[str]:
        """Pieces of the continuation of `prompt`, which itself is not repeated; whole characters only.

        It ends at an end token, after `max_new_tokens`, or when the context is full. The same arguments give the same text
        on the same provider. What is None comes from the bundle; temperature 0 is greedy.

        Args:
            steering: how the base model is mixed in; `base` is its decoder (`timbre.tasks.bases`), needed unless nothing is mixed.
            blend: decoders of other styles with their shares, all with this one's tokenizer; the rest is this bundle's own share.
            spans: the training text, and the length of a run of its tokens that is not written out.
            watch: told of every token that is drawn, when it is drawn.

        Raises:
            ValueError: at once, not at the first piece: the prompt is as long as the context or longer, is empty and the
                model has no begin token, or a sampler value is out of range.
        """
        given = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        chosen = self.facts.sampler.model_dump() | {name: value for name, value in given.items() if value is not None}
        sampler = SamplerConfig.model_validate(chosen)
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}: ask for at least 1")
        mixing = steering if steering is not None and not steering.idle else None
        if mixing is not None and base is None:
            raise ValueError("diversity and strength mix in the base model: give its decoder as `base`")
        return self._write(self.prompt_ids(prompt), max_new_tokens, sampler, seed, mixing, base, blend, spans, watch)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The tokens a prompt is read as, behind the tokenizer's own start; special tokens written in it are plain text.

        Raises:
            ValueError: too long for the context, or empty where the model has no begin token.
        """
        return self.checked([*self.facts.start_token_ids, *backend_text_ids(prompt, self.tokenizer)])

    def checked(self, ids: Sequence[int]) -> list[int]:
        """Tokens that the model can go on from; the begin token where there are none. Raises: as `prompt_ids`."""
        ids = list(ids)
        if not ids:
            if self.facts.bos_token_id is None:
                raise ValueError("the prompt is empty, and this model has no token to begin with: write at least one word")
            ids = [self.facts.bos_token_id]
        if len(ids) >= self.facts.context:
            raise ValueError(f"the prompt is {len(ids)} tokens long and the model reads {self.facts.context} at most: shorten it")
        return ids

    def _write(
        self,
        ids: list[int],
        max_new_tokens: int,
        sampler: SamplerConfig,
        seed: int,
        steering: Steering | None,
        base: Decoder | None,
        blend: "Sequence[tuple[Runtime, float]]",
        spans: tuple[Spans, int] | None,
        watch: Callable[[int], None] | None,
    ) -> Iterator[str]:
        random = np.random.default_rng(seed)
        text = Detokenizer(self.tokenizer, ids)
        tuned = _Blended([self.decoder, *(other for other, _ in blend)], [share for _, share in blend])
        beside = None if base is None or steering is None else _Stepped(base)
        for start in range(0, len(ids), PREFILL):
            logits = tuned.read(ids[start : start + PREFILL])
            base_logits = None if beside is None else beside.read(ids[start : start + PREFILL])
        room = self.facts.context - len(ids)
        for left in range(min(max_new_tokens, room), 0, -1):
            drawable = logits[:, : self.facts.vocab_size]
            drawable[:, self.unused] = -np.inf
            if spans is not None:
                drawable = spans[0].without(drawable, ids, spans[1])
            if base_logits is not None and steering is not None:
                drawable = steer(drawable, base_logits[:, : self.facts.vocab_size], steering)
            token = int(sample(drawable, random.random(1), sampler)[0])
            if token in self.facts.eos_token_ids:
                break
            ids.append(token)
            if watch is not None:
                watch(token)
            if piece := text.push(token):
                yield piece
            if left > 1:
                logits = tuned.step(token)
                base_logits = None if beside is None else beside.step(token)
        if rest := text.flush():
            yield rest


def same_tokens(one: Artifact, other: Artifact) -> bool:
    """Whether two bundles have the same tokenizer, byte for byte, so that their distributions are over the same tokens."""
    files = [bundle.manifest.files["tokenizer.json"].sha256 for bundle in (one, other)]
    return files[0] == files[1] and BundleFacts.read(one).vocab_size == BundleFacts.read(other).vocab_size


class _Stepped:
    """A decoder and the cache of one text: a prompt is read piece by piece, then tokens are written into a row of its own."""

    def __init__(self, decoder: "Runtime") -> None:
        self._decoder = decoder
        self._cache: Any = decoder.empty_cache(1)
        self._row: Rows | None = None

    def read(self, ids: Sequence[int]) -> Logits:
        """Feed a piece of the prompt; the logits of what follows, [1, vocabulary]."""
        logits, self._cache = self._decoder.read(np.array([ids], np.int64), self._cache)
        return logits

    def step(self, token: int) -> Logits:
        """Feed a written token; likewise."""
        if self._row is None:
            self._row = self._decoder.rows()
            self._row.join(self._cache)
        return self._row.step(np.array([token], np.int64))


class _Blended:
    """Decoders that write one text together, and their caches."""

    def __init__(self, decoders: "Sequence[Runtime]", shares: Sequence[float]) -> None:
        """The first has what the others leave of 1."""
        self._decoders = [_Stepped(decoder) for decoder in decoders]
        self._shares = [1 - sum(shares), *shares]

    def read(self, ids: Sequence[int]) -> Logits:
        """Feed a piece of the prompt; the logits of what follows, [1, vocabulary of the narrowest]."""
        return self._together([decoder.read(ids) for decoder in self._decoders])

    def step(self, token: int) -> Logits:
        """Feed a written token; likewise."""
        return self._together([decoder.step(token) for decoder in self._decoders])

    def _together(self, found: list[Logits]) -> Logits:
        if len(found) == 1:
            return found[0]
        width = min(logits.shape[-1] for logits in found)
        together: Logits = blended([logits[:, :width] for logits in found], self._shares)
        return together
