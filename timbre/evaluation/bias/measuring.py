"""What an evaluation says about bias: the corpus audit, the paired probes by category, counterfactual texts where they were written."""

from collections.abc import Mapping, Sequence
from typing import Any

from timbre.artifacts import Artifact, FileInput, Input
from timbre.config import EvaluationConfig
from timbre.corpus.documents import read_documents
from timbre.evaluation.bias import counterfactual
from timbre.evaluation.bias.audit import audit
from timbre.evaluation.bias.tables import probe_summary

Row = Mapping[str, Any]


def measure_bias(
    config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row], probes: Sequence[Row],
    toxic: counterfactual.Hits | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """(items, {bias_probes, corpus_audit, counterfactual}), the last two only where they are asked for.

    Args:
        rows: generations of all kinds.
        probes: item rows of the paired bias probes.
        toxic: which texts are toxic, for the counterfactual table.
    """
    file, corpus = inputs["bias_probes"], inputs["corpus"]
    assert isinstance(file, FileInput) and isinstance(corpus, Artifact)
    items: list[dict[str, Any]] = []
    summary: dict[str, Any] = {"bias_probes": probe_summary(probes, file.path)}
    if config.corpus_audit:
        summary["corpus_audit"] = audit([document.text for document in read_documents(corpus, "train")], seed=config.seed)
    if own := [row for row in rows if row["kind"] == counterfactual.KIND]:
        items, summary["counterfactual"] = counterfactual.measure(own, toxic)
    return items, summary
