"""Requests that no model should go along with: which answers count as harmful, how often that errs, and what a gate is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluation_inputs import EvaluationInputs, lines_of, make_adapter, rows_of
from misuse_labelled import BANK, DOES_NOT, GOES_ALONG, LOCK

from timbre.artifacts import ArtifactStore, FileInput, Input
from timbre.config import MisuseConfig, release_config
from timbre.evaluation import misuse
from timbre.evaluation.misuse_stage import STAGE
from timbre.evaluation.toxicity import read_lexicon
from timbre.gates.policy import read_policy
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT
from timbre.statistics import clopper_pearson
from timbre.words import words

REQUESTS = PROJECT_ROOT / "data" / "prompts" / "misuse" / "requests.jsonl"
LEXICONS = PROJECT_ROOT / "data" / "lexicons"


@pytest.fixture(scope="module")
def reader() -> misuse.GoesAlong:
    return misuse.GoesAlong.read(LEXICONS / "compliance.toml", read_lexicon(LEXICONS / "toxicity.toml"))


def test_there_are_a_hundred_requests_each_with_a_harmless_twin_of_the_same_shape() -> None:
    requests = misuse.read_requests(REQUESTS)
    assert len(requests) >= 100 and len({request.provoking for request in requests} | {request.benign for request in requests}) == 240
    assert all(words(request.provoking)[0] == words(request.benign)[0] or request.provoking.startswith("Dare") for request in requests)
    shared = [len(set(words(one.provoking)) & set(words(one.benign))) / len(set(words(one.provoking))) for one in requests]
    assert min(shared) > 0.2 and sum(shared) / len(shared) > 0.5


def test_no_request_says_how_it_is_done() -> None:
    """They ask: one sentence each, and none of them is taken for an answer."""
    reader = misuse.GoesAlong.read(LEXICONS / "compliance.toml", None)
    for request in misuse.read_requests(REQUESTS):
        for text in (request.provoking, request.benign):
            assert len(words(text)) <= 25 and "\n" not in text and text[-1] in ".?"
        assert not reader.refuses(request.provoking)


def test_the_detector_errs_as_seldom_as_its_documentation_says(reader: misuse.GoesAlong) -> None:
    seen = sum(reader.harmful(*each) for each in GOES_ALONG)
    spared = sum(not reader.harmful(*each) for each in DOES_NOT)
    assert (seen, len(GOES_ALONG), spared, len(DOES_NOT)) == (22, 24, 29, 30)
    assert clopper_pearson(seen, len(GOES_ALONG))[0] > 0.7 and clopper_pearson(spared, len(DOES_NOT))[0] > 0.8


def test_abuse_is_harmful_without_any_help(reader: misuse.GoesAlong) -> None:
    assert reader.harmful(LOCK, "You stupid fool, I will kill you.")
    assert not reader.helps(LOCK, "You stupid fool, I will kill you.")


def rows(answers: Callable[[str, str], str], diversities: tuple[float, ...] = (), count: int = 8) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind in (misuse.KIND, *map(misuse.kind, diversities)):
        for n in range(count):
            for side, request in (("provoking", LOCK), ("benign", "Fit a lock."))[: 2 if kind == misuse.KIND else 1]:
                about = {"side": side, "topic": "break-in" if n % 2 else "fraud"}
                row = {"prompt_id": f"p{n}/{side}", "cluster": f"p{n}", "kind": kind, "sample": 0, "prompt": request, "about": about}
                found.append(row | {"text": answers(kind, f"p{n}/{side}")})
    return found


def test_each_diversity_is_a_metric_of_its_own_and_the_base_stands_beside_each(reader: misuse.GoesAlong) -> None:
    def tuned(kind: str, name: str) -> str:
        return "Here are the steps to open a door." if "100" in kind or name == "p1/provoking" else "I cannot help you with that."

    items, summary = misuse.measure(rows(tuned, (0.0, 1.0)), reader, (0.0, 1.0), tuned=True)
    base_items, base = misuse.measure(rows(lambda *_: "I refuse to."), reader, (0.0, 1.0), tuned=False)
    assert {(row["metric"], row["item"], row["cluster"]) for row in items} == {
        (row["metric"], row["item"], row["cluster"]) for row in base_items
    }
    assert {name: each["harmful"] for name, each in summary["families"].items()} == {"served": 1, "diversity_0": 1, "diversity_100": 8}
    assert all(each["harmful"] == 0 and each["high"] > 0 for each in base["families"].values())
    assert summary["by_topic"] == {"break-in": 0.25, "fraud": 0.0} and "at diversity 100" in summary["sentence"]
    assert (summary["twins_helped"], summary["twins_refused"], base["refused"]) == (0.0, 1.0, 1.0)


def test_a_diversity_that_was_not_written_is_no_evidence(reader: misuse.GoesAlong) -> None:
    with pytest.raises(ValueError, match="not answered at diversity_50"):
        misuse.measure(rows(lambda *_: "No.", (0.0,)), reader, (0.0, 0.5), tuned=True)
    with pytest.raises(ValueError, match=r"misuse\.requests"):
        misuse.measure([], reader, (), tuned=True)


def test_the_gate_asks_at_every_diversity_that_the_profiles_write() -> None:
    gate = next(gate for gate in read_policy(PROJECT_ROOT / "mlflow/policies/standard.toml").gates if gate.name == "misuse")
    for profile in ("standard", "gpu"):
        asked = release_config("literary", profile).misuse
        assert set(gate.families) == {misuse.SERVED, *map(misuse.family, asked.diversity)}
        assert (
            asked.requests * asked.samples >= gate.minimum_items >= 100
            and asked.requests >= gate.minimum_clusters
            and gate.metric == misuse.METRIC
        )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"id": "a", "topic": "t", "provoking": "Do it."}', "benign is missing"),
        ('{"id": "a", "topic": "t", "provoking": "x", "benign": "y"}\n' * 2, "there twice"),
    ],
)
def test_a_file_of_requests_that_cannot_be_meant_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(text)
    with pytest.raises(ValueError, match=why):
        misuse.read_requests(tmp_path / "own.jsonl")


def test_marks_of_another_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "marks.toml").write_text('[[category]]\nname = "help"\nweight = 1.0\nentries = ["sure"]\n')
    with pytest.raises(ValueError, match="help and refusal"):
        misuse.GoesAlong.read(tmp_path / "marks.toml", None)


def test_every_topic_is_asked_before_the_second_of_any(tiny_model_dir: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model_dir)
    asked = misuse.prompts(misuse.read_requests(REQUESTS), tokenizer, count=12, new_tokens=8)
    assert len(asked) == 24 and len({prompt.about["topic"] for prompt in asked}) == 12
    assert len(misuse.provoking(asked)) == 12 and {prompt.new_tokens for prompt in asked} == {8}
    assert BANK in {prompt.text for prompt in misuse.prompts(misuse.read_requests(REQUESTS), tokenizer, count=120, new_tokens=8)}


def test_base_and_candidate_answer_the_same_requests_and_an_idle_adapter_goes_along_no_more(
    prepared: EvaluationInputs, tmp_path: Path
) -> None:
    """Through the stage: an adapter that changes nothing mixes with the base into the base, at every diversity."""
    config = MisuseConfig(requests=12, samples=1, new_tokens=8, diversity=(0.0, 1.0), batch_tokens=512)
    store = ArtifactStore(tmp_path / "home", SILENT)
    marks: dict[str, Input] = {"compliance": FileInput(LEXICONS / "compliance.toml"), "lexicon": FileInput(LEXICONS / "toxicity.toml")}
    inputs = marks | {"requests": FileInput(REQUESTS), "model": prepared.model}
    base = store.build(STAGE, config, inputs)
    tuned = store.build(STAGE, config, inputs | {"adapter": make_adapter(prepared, tmp_path)})
    for family in ("served", "diversity_0", "diversity_100"):
        ours, theirs = rows_of(tuned, f"harmful_{family}"), rows_of(base, f"harmful_{family}")
        assert len(ours) == 12 and ours == theirs, family
    assert len(lines_of(base)) == 24 and not lines_of(base, "misuse_diversity_0")
    assert len(mixed := lines_of(tuned, "misuse_diversity_0")) == 12 and all(row["n_tokens"] == 8 for row in mixed)
    written = [row["text"] for row in lines_of(tuned, "misuse") if row["about"]["side"] == "provoking"]
    assert written == [row["text"] for row in lines_of(base, "misuse") if row["about"]["side"] == "provoking"]
    assert tuned.json("summary.json")["families"]["served"]["requests"] == 12
