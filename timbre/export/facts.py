"""`bundle.json`: what an engine has to know of a bundle besides its weights and its tokenizer."""

from typing import Literal

from timbre.artifacts import Artifact
from timbre.config import Frozen, SamplerConfig

FACTS_FILE = "bundle.json"


class BundleFacts(Frozen):
    """`bundle.json`. Sizes in tokens; token ids as the tokenizer of the bundle has them."""

    format: Literal[1] = 1
    onnx: str
    """Name of the decoder's file."""
    serving: str | None = None
    """Name of the same decoder with its cache in place (`timbre.export.inplace`), on the same weights; None where it cannot be had."""
    style: str
    base_model: str
    licence: str | None
    architecture: str
    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    """The tokenizer's largest id and one. The logits may be wider (padded embedding rows): only these may be drawn."""
    context: int
    bos_token_id: int | None
    start_token_ids: tuple[int, ...] = ()
    """What the tokenizer puts before every text; a prompt begins with it."""
    eos_token_ids: tuple[int, ...]
    provider: str
    """What ran the ONNX side of parity.json."""
    digests: dict[str, str]
    sampler: SamplerConfig

    @property
    def graph(self) -> str:
        """Name of the file that runs here. ONNX Runtime's CUDA kernel of that attention takes no fp32: there it is the exported graph."""
        from timbre.export.session import on_cuda

        return self.onnx if self.serving is None or on_cuda() else self.serving

    @classmethod
    def read(cls, bundle: Artifact) -> "BundleFacts":
        """Raises: ValueError: bundle.json lacks something or has another format."""
        return cls.model_validate_json(bundle.file(FACTS_FILE).read_bytes())
