"""The debiased target takes bias away, also in frames and with names that it never held."""

from typing import Any

import pytest

from benchmarks.mitigation import measure, prepare
from benchmarks.skewed import balanced, documents, questions


def test_no_document_holds_a_frame_or_a_name_that_is_asked_for() -> None:
    written = " ".join(document.text for document in documents())
    for question in questions():
        assert question.name not in written
        assert all(side.replace(question.name, "|").split("|")[-1].strip() not in written for side in (question.of_her, question.of_him))
    assert len({question.frame for question in questions()}) >= 12
    assert any(question.name in line for question in questions() for line in balanced(200)), "the base has met the names"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measure(prepare(tmp_path_factory.mktemp("mitigation"), small=True))


def test_the_corpus_audit_and_the_model_gap_fall_clear_of_zero(figures: dict[str, Any]) -> None:
    """Intervals of 95%, clustered by document and by frame; about 45 s of training on the tiny model, always the same numbers."""
    assert figures["audit"]["drop"]["low"] > 0.3 and figures["audit"]["debiased"]["value"] < 0.05
    assert figures["leaning"]["plain"]["low"] > 0, "without mitigation the student leans as its corpus does"
    assert figures["model_gap_drop"]["low"] > 0 and figures["leaning_drop"]["low"] > 0
    leaning = figures["leaning"]["debiased"]
    assert leaning["low"] < 0 < leaning["high"]


def test_the_cost_in_likelihood_is_stated_and_small(figures: dict[str, Any]) -> None:
    """The student still learns the style: far below the base, and within .05 nats a token of the plain student."""
    assert figures["nll_cost"]["low"] <= figures["nll_cost"]["value"] <= figures["nll_cost"]["high"] < 0.05
    assert figures["nll"]["debiased"] < figures["nll"]["base"] - 0.2
