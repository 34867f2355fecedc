"""Closed-book answers, copying and unknown facts on their way through prompts, generations and evaluation."""

from pathlib import Path
from typing import Any

import pytest
from evaluation_inputs import EvaluationInputs, lines_of, make_adapter, rows_of

from timbre.artifacts import Artifact, FileInput, Input
from timbre.config import EvaluationConfig, release_config
from timbre.corpus.documents import Document, write_rows
from timbre.evaluation.generations_stage import STAGE as GENERATIONS_STAGE
from timbre.evaluation.prompts_stage import STAGE as PROMPTS_STAGE
from timbre.evaluation.stage import STAGE as MEASURE
from timbre.pipeline import STEP, inputs_of
from timbre.settings import PROJECT_ROOT

PROMPTS = PROJECT_ROOT / "data/prompts/factuality"
COUNTS = {"closed_book_questions": 5, "closed_book_samples": 2, "copying_passages": 2, "unknown_statements": 4}
PLACES = ["Asham", "Torsby", "Kelvik", "Dunmark", "Porvino", "Osterby", "Lisgrad", "Belmora"]


@pytest.fixture(scope="module")
def config(prepared: EvaluationInputs) -> EvaluationConfig:
    quiet = {"several_prompts": 0, "sentinel_prompts": 0, "instruction_prompts": 0, "memorisation_prompts": 0}
    return prepared.config.model_copy(update=COUNTS | quiet)


@pytest.fixture(scope="module")
def corpus(prepared: EvaluationInputs, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny corpus, whose training documents say what stands where since when."""
    from timbre.artifacts import Stage, Workspace
    from timbre.config import CorpusConfig
    from timbre.corpus.documents import read_documents

    said = [f"The old bridge near {place} was built in {1701 + 13 * n}." for n, place in enumerate(PLACES)]
    documents = [
        Document(**(vars(document) | {"text": f"{document.text} {said[n % 8]}"})) if document.split == "train" else document
        for n, document in enumerate(read_documents(prepared.corpus))
    ]

    def write(_config: Any, _inputs: Any, work: Workspace) -> None:
        write_rows(documents, Document, work.output / "documents.parquet")

    return prepared.store.build(Stage("corpus", 2, write), CorpusConfig(), {})


def measured(prepared: EvaluationInputs, config: EvaluationConfig, corpus: Artifact, adapter: Artifact | None = None) -> Artifact:
    files = {"instructions": prepared.files["instructions"]} | {
        name: FileInput(PROMPTS / file) for name, file in (("questions", "closed_book.jsonl"), ("passages", "passages.jsonl"))
    }
    given: dict[str, Input] = {"model": prepared.model, "corpus": corpus}
    prompts = prepared.store.build(PROMPTS_STAGE, config.of_prompts(), given | files)
    probes = {name: prepared.files[name] for name in ("bias_probes", "fact_probes")}
    parts = given | probes | {"prompts": prompts} | ({"adapter": adapter, "target": prepared.target} if adapter else {})
    generations = prepared.store.build(GENERATIONS_STAGE, config.of_generations(), parts)
    return prepared.store.build(MEASURE, config, given | probes | parts | {"target": prepared.target, "generations": generations})


def test_an_evaluation_holds_answers_copies_and_what_the_base_does_not_know(
    prepared: EvaluationInputs, config: EvaluationConfig, corpus: Artifact, tmp_path: Path
) -> None:
    base = measured(prepared, config, corpus)
    candidate = measured(prepared, config, corpus, make_adapter(prepared, tmp_path, weight=3.0))
    for metric, least in (("closed_book_correct", 5 * 2 * 2), ("copy_accuracy", 5), ("copy_errors", 5), ("copy_answered", 3)):
        ours, theirs = ([(row["item"], row["cluster"]) for row in rows_of(side, metric)] for side in (base, candidate))
        assert ours == theirs and len(ours) >= least, metric
    summary, tuned = base.json("summary.json"), candidate.json("summary.json")
    assert summary["closed_book"]["questions"] == 5 and summary["copying"]["passages"] == 2
    assert summary["unknown_facts"]["probed"] == 4 and 0 <= summary["unknown_facts"]["share"]["value"] <= 1
    assert "unknown_facts" not in tuned, "a figure of the corpus and the base: the candidate was trained on it"
    assert summary["facts"]["correct"]["items"] == 10 and list(summary["facts"]["topics"]) == ["other"]
    assert {row["n_tokens"] for row in lines_of(base, "closed_book")} == {12, 24}


def test_what_is_not_asked_for_is_neither_read_nor_measured(base: Artifact) -> None:
    summary = base.json("summary.json")
    assert not {"closed_book", "copying", "unknown_facts"} & summary.keys() and "facts" in summary


def test_the_quick_profile_asks_nothing_of_this_and_the_standard_one_does(prepared: EvaluationInputs) -> None:
    built = {"model": prepared.model, "corpus": prepared.corpus}
    quick, standard = (inputs_of(STEP["prompts"], release_config("literary", profile), built) for profile in ("quick", "standard"))
    assert "questions" not in quick and "passages" not in quick
    assert {"questions", "passages"} <= standard.keys()
    assert all(getattr(release_config("literary").evaluation, name) == 0 for name in COUNTS if name != "closed_book_samples")
