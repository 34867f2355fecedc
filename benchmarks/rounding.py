"""What weights and products in bf16 cost against fp32 on this machine: unseen text of a style, read by both side by side.

    python -m benchmarks.rounding --json                                    # the default base, 4,080 unseen tokens of `literary`
    python -m benchmarks.rounding --adapter FOLDER --tokens 512             # a tuned model: its adapter's artifact

nll_fp32, nll_bf16, nll_rise: nats a token. kl: from the fp32 model to the bf16 one, nats a token. same_top: share of positions at which the
likeliest token is the same. The exported decoder is fp32: parity is not touched by it.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timbre.artifacts import ArtifactStore
from timbre.config import CorpusConfig, ModelConfig
from timbre.settings import settings

_PASSAGE = 255


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=ModelConfig().name)
    parser.add_argument("--adapter", type=Path, help="folder of an adapter that was trained on it")
    parser.add_argument("--style", default="literary")
    parser.add_argument("--tokens", type=int, default=4080)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = rounding(asked.model, asked.adapter, asked.style, asked.tokens)
    print(json.dumps(found) if asked.json else "\n".join(f"{name:10} {value}" for name, value in found.items()))


def rounding(name: str, adapter: Path | None, style: str, tokens: int) -> dict[str, Any]:
    """The figures above."""
    import torch

    from timbre.corpus.documents import read_documents
    from timbre.corpus.stage import build_corpus
    from timbre.models import load_tokenizer
    from timbre.models.adapters import with_adapter
    from timbre.models.loading import head_weight, hidden_states, load_folder, logits
    from timbre.models.stage import resolve_model

    store = ArtifactStore(settings().home)
    model = resolve_model(ModelConfig(name=name), store)
    texts = [document.text for document in read_documents(build_corpus(CorpusConfig(style=style), store), "test")]
    ids = torch.tensor(load_tokenizer(model)("\n\n".join(texts), add_special_tokens=False)["input_ids"][: tokens + tokens // _PASSAGE + 1])

    def loaded(dtype: torch.dtype) -> Any:
        whole: Any = load_folder(model.path)
        whole = whole if adapter is None else with_adapter(whole, adapter, merged=True, trainable=False)
        return whole.to(dtype).eval()

    def predicted(network: Any, passage_T: torch.Tensor) -> torch.Tensor:
        states_ND = hidden_states(network, passage_T[None], torch.ones_like(passage_T)[None])[0, :-1]
        return torch.log_softmax(logits(states_ND, head_weight(network)).float(), -1)

    plain, rounded = loaded(torch.float32), loaded(torch.bfloat16)
    sums, count = torch.zeros(4, dtype=torch.float64), 0
    with torch.inference_mode():
        for passage_T in _passages(ids):
            exact_NV, near_NV = predicted(plain, passage_T), predicted(rounded, passage_T)
            labels_N1 = passage_T[1:, None]
            sums += torch.stack([
                -exact_NV.gather(1, labels_N1).sum(), -near_NV.gather(1, labels_N1).sum(),
                (exact_NV.exp() * (exact_NV - near_NV)).sum(), (exact_NV.argmax(-1) == near_NV.argmax(-1)).sum(),
            ]).double()  # fmt: skip
            count += len(labels_N1)
    exact, near, kl, same = (float(value) / count for value in sums)
    return {
        "tokens": count, "nll_fp32": round(exact, 5), "nll_bf16": round(near, 5), "nll_rise": round(near - exact, 5), "kl": round(kl, 5),
        "same_top": round(same, 4),
    }  # fmt: skip


def _passages(ids: Any) -> Iterator[Any]:
    """Pieces of which all tokens but the first are predicted."""
    for start in range(0, len(ids) - 1, _PASSAGE + 1):
        if len(piece := ids[start : start + _PASSAGE + 1]) > 1:
            yield piece


if __name__ == "__main__":
    main()
