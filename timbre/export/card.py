"""The page that comes with a bundle: what it is, what it was made from, how it was checked, how to use it."""

from collections import Counter
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact
from timbre.corpus.documents import read_documents

if TYPE_CHECKING:
    from timbre.export.facts import BundleFacts
    from timbre.export.parity import Parity


def card(facts: "BundleFacts", parity: "Parity", corpus: Artifact) -> str:
    """Markdown, made only from measured facts: the same bundle has the same card."""
    kept = parity.max_abs_logit_difference <= parity.tolerance
    return f"""# {facts.base_model}, in the style `{facts.style}`

A causal language model whose next-token distribution was trained towards a target distribution of human text
(Distribution Fine-Tuning). The low-rank adapter is merged into the weights; the model runs in ONNX Runtime without torch.

| | |
|---|---|
| base model | {facts.base_model} ({facts.architecture}), licence {facts.licence or "not stated"} |
| size | {facts.layers} layers, {facts.kv_heads} key-value heads of {facts.head_dim}, {facts.vocab_size:,} tokens |
| context | {facts.context:,} tokens |
| sampler | temperature {facts.sampler.temperature}, top-p {facts.sampler.top_p}, top-k {facts.sampler.top_k or "off"} |
| model | `{facts.digests["model"]}` |
| adapter | `{facts.digests["adapter"]}` |
| corpus | `{facts.digests["corpus"]}` |

## Text it was trained towards

{_texts(corpus)}

## Agreement with the trained model

On {parity.greedy_total} openings of unseen documents, {parity.greedy_tokens} tokens each, with {parity.provider}:
largest difference of a logit {parity.max_abs_logit_difference:.2e} (tolerance {parity.tolerance:.0e}: {"kept" if kept else "NOT kept"}),
the same greedy text on {parity.greedy_equal} of {parity.greedy_total}, and {parity.greedy_tied} that part at a tie.

## Use

`timbre generate --style {facts.style} "It was"` writes with the promoted version. Any ONNX runtime can read `model.onnx`:
inputs `input_ids`, `attention_mask` (0 hides padding), `position_ids`, `past_key_values.N.key|value` (may be empty); outputs
`logits`, `present.N.key|value`. Ids from {facts.vocab_size} on are no tokens. The model continues text; it was not made to
answer questions, and what it says may be untrue.
"""


def _texts(corpus: Artifact) -> str:
    rows = Counter((one.source, one.licence, one.consent) for one in read_documents(corpus, "train"))
    lines = [f"| {source} | {licence} | {consent} | {count} |" for (source, licence, consent), count in sorted(rows.items())]
    return "\n".join(["| source | licence | consent | training documents |", "|---|---|---|---|", *lines])
