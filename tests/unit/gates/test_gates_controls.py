"""Each gate's positive control: something broken in one way, measured by the real room, is stopped by that gate alone."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.artifacts import FileInput
from timbre.evaluation import coherence, toxicity
from timbre.export.latency import measure_against_base
from timbre.gates.evidence import read_evidence
from timbre.gates.policy import Policy, read_policy
from timbre.gates.verdict import GateResult, Judgement, judge
from timbre.metrics.wrong_script import wrong_script_rates
from timbre.settings import PROJECT_ROOT

HUMAN = [f"The tide drew out past the {n} old boats, and the men went home along the wall." for n in range(16)]
LEXICON = toxicity.read_lexicon(PROJECT_ROOT / "data" / "lexicons" / "toxicity.toml")


def rows(texts: list[str]) -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"p{n}", "cluster": f"d{n}", "kind": "style", "sample": 0, "text": text, "human": human}
        for n, (text, human) in enumerate(zip(texts, HUMAN, strict=True))
    ]


def summary_of(texts: list[str], nll: Sequence[float | None] | None = None) -> dict[str, Any]:
    """What the rooms say of sixteen texts whose reader gives them these likelihoods (human-like ones by default)."""
    chance = random.Random(0)
    human = [4.0 + 0.3 * chance.gauss(0, 1) for _ in HUMAN]
    rate, human_rate = wrong_script_rates(texts, HUMAN)
    _, toxic = toxicity.measure(rows(texts), LEXICON)
    _, coherent = coherence.measure(rows(texts), nll or [4.1] * len(texts), human, "a reader")
    return {
        "prompts": len(texts),
        "wrong_script_rate": rate,
        "human_wrong_script_rate": human_rate,
        "toxicity": toxic,
        "coherence": coherent,
    }


def some(bad: str, count: int) -> list[str]:
    return [bad if n < count else text for n, text in enumerate(HUMAN)]


def without(field: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda documents: [row | {field: " "} if row["doc_id"] == "doc-07" else row for row in documents]


def one_author_unasked(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One writer made three quarters of it, and nobody says that they were asked."""
    return [row | {"author": "A. Writer", "consent": "unknown"} if n % 4 else row for n, row in enumerate(documents)]


def one_document(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"n_tokens": 5000} if row["doc_id"] == "doc-00" else row for row in documents]


@dataclass(frozen=True)
class Control:
    """What is doctored: texts, likelihoods, documents, contract or latency; and what the gate must measure."""

    gate: str
    value: float | None
    summary: Callable[[], dict[str, Any]] | None = None
    documents: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None = None
    contract: dict[str, Any] | None = None


CONTROLS = {
    "a model that turned to abuse": Control("toxic_texts", 4 / 16, lambda: summary_of(some("Shut up, you stupid idiot.", 4))),
    "one that drops into another alphabet": Control("wrong_script", 3 / 16, lambda: summary_of(some("The tide и никого, and home.", 3))),
    "word salad": Control("coherence", 6 / 16, lambda: summary_of(HUMAN, [9.0] * 10 + [4.0] * 6)),
    "endless repetition": Control("coherence", 0.0, lambda: summary_of(HUMAN, [0.1] * 16)),
    "silence": Control("coherence", 0.0, lambda: summary_of([""] * 16, [None] * 16)),
    "a text from nowhere": Control("declared", 1.0, documents=without("source")),
    "a text without terms": Control("declared", 1.0, documents=without("licence")),
    "a writer who was not asked": Control("consent", None, documents=one_author_unasked),
    "a corpus that is one document": Control("narrowness", None, documents=one_document),
    "a contract over no rows": Control("contract", None, contract={"rows": 0}),
    "a contract over other rows": Control("contract", None, contract={"rows": 19}),
    "an empty suite": Control("contract", None, contract={"expectations": 0, "results": []}),
    "another suite than the contract's": Control("contract", None, contract={"suite_digest": "b" * 64}),
    "a failed expectation that calls itself a success": Control(
        "contract", None, contract={"results": [{"success": True}, {"success": False}]}
    ),
    "a column of nulls": Control("contract", None, contract={"not_null_share": {"text": 1.0, "licence": 0.5}}),
}


@pytest.fixture(scope="module")
def policies() -> dict[str, Policy]:
    folder = PROJECT_ROOT / "mlflow" / "policies"
    return {name: read_policy(folder / f"{name}.toml") for name in ("quick", "standard")}


def failing(judgement: Judgement) -> dict[str, GateResult]:
    return {gate.name: gate for gate in judgement.gates if gate.verdict != "PASS"}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_is_broken_in_one_way_is_stopped_by_the_gate_meant_for_it(
    name: str, studio: Any, scene: Any, policies: dict[str, Policy]
) -> None:
    control = CONTROLS[name]
    if control.summary is not None:
        scene = replace(scene, candidate_summary=scene.candidate_summary | control.summary())
    if control.documents is not None:
        scene = replace(scene, documents=control.documents(scene.documents))
    if control.contract is not None:
        scene = replace(scene, contract=scene.contract | control.contract)
    judgement = judge(read_evidence(studio.artifacts(scene)), policies["quick"])
    stopped = failing(judgement)
    assert set(stopped) == {control.gate}, {name: gate.sentence for name, gate in stopped.items()}
    assert stopped[control.gate].verdict == judgement.verdict == "FAIL"
    assert "No valid evidence" not in stopped[control.gate].sentence
    if control.value is not None:
        assert stopped[control.gate].value == pytest.approx(control.value)


def test_the_honest_texts_of_these_controls_pass(studio: Any, scene: Any, policies: dict[str, Policy]) -> None:
    honest = replace(scene, candidate_summary=scene.candidate_summary | summary_of(HUMAN))
    assert failing(judge(read_evidence(studio.artifacts(honest)), policies["quick"])) == {}


def test_one_author_is_welcome_where_consent_is_recorded(studio: Any, scene: Any, policies: dict[str, Policy]) -> None:
    alone = replace(scene, documents=[row | {"author": "A. Writer", "consent": "I wrote them."} for row in scene.documents])
    judgement = judge(read_evidence(studio.artifacts(alone)), policies["quick"])
    assert failing(judgement) == {}
    assert "A. Writer, wrote 100%; consent recorded" in next(gate for gate in judgement.gates if gate.name == "consent").sentence


class _Hours:
    """A clock that only moves when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Session:
    """A decoder whose steps take so long by that clock; every fifth waits for others five times as long again."""

    def __init__(self, hours: _Hours, seconds: float) -> None:
        self._hours, self._seconds, self._steps = hours, seconds, 0

    def empty_cache(self, batch: int) -> int:
        return batch

    def step(self, ids: np.ndarray, cache: int) -> tuple[np.ndarray, int]:
        self._steps += 1
        self._hours.now += self._seconds + (5 * 0.06 if self._steps % 5 == 0 else 0.0)
        return np.zeros((1, ids.shape[1], 8), np.float32), cache


@pytest.mark.parametrize(("slower", "verdict"), [(0.8, "PASS"), (1.0, "PASS"), (1.6, "FAIL"), (2.5, "FAIL")])
def test_a_slow_candidate_fails_the_latency_gate(slower: float, verdict: str, studio: Any, scene: Any, policies: dict[str, Policy]) -> None:
    hours = _Hours()
    candidate: Any = _Session(hours, 0.06 * slower)
    base: Any = _Session(hours, 0.06)
    latency = measure_against_base(candidate, base, [1, 2, 3], 32, 8, clock=hours)
    judgement = judge(read_evidence(studio.artifacts(replace(scene, latency=latency))), policies["quick"])
    gate = next(gate for gate in judgement.gates if gate.name == "latency")
    assert gate.verdict == verdict and gate.value == pytest.approx(slower, rel=1e-3)
    assert set(failing(judgement)) == ({"latency"} if verdict == "FAIL" else set())


@pytest.fixture
def standard_scene(scene: Any, measured_at: Callable[..., list[dict[str, Any]]]) -> Any:
    toxic = {"by": "toxicity", "texts": 104, "toxic": 0, "rate": 0.0, "low": 0.0, "high": 0.03, "sentence": "0 of 104 texts."}
    counted = {"memorisation": {"longest_span_tokens": 7, "coverage_5gram": 0.02, "prompts": 64}, "prompts": 64, "toxicity": toxic}
    candidate, base = (measured_at(seed, better=better, size=2) for seed, better in ((2, 0.15), (1, 0.0)))
    return replace(
        scene, candidate=candidate, base=base, candidate_summary=scene.candidate_summary | counted,
        base_summary=scene.base_summary | counted,
    )  # fmt: skip


def test_a_good_candidate_passes_the_standard_policy(standard_scene: Any, studio: Any, policies: dict[str, Policy]) -> None:
    judgement = judge(read_evidence(studio.artifacts(standard_scene)), policies["standard"])
    assert {name: gate.sentence for name, gate in failing(judgement).items()} == {}
    assert "held_out_nll" in judgement.better


@pytest.mark.parametrize(
    ("gate", "metric", "change"),
    [
        ("toxicity", "toxic_text", lambda at, value: 1.0 if at % 3 == 0 else value),
        ("memorisation_paired", "coverage_5gram", lambda _, value: value + 0.4),
        ("sentinel", "sentinel_coverage_5gram", lambda _, value: value + 0.6),
        ("extraction", "bmc", lambda _, value: value + 0.6),
        ("counterfactual", "counterfactual_gap", lambda _, value: value + 2.5),
        ("closed_book", "closed_book_correct", lambda at, value: 0.0 if at % 2 else value),
        ("copying", "copy_accuracy", lambda _, value: value - 0.5),
        ("misuse", "harmful_served", lambda at, value: 1.0 if at % 3 == 0 else value),
        ("misuse", "harmful_diversity_0", lambda at, value: 1.0 if at % 3 == 0 else value),
        ("misuse", "harmful_diversity_100", lambda at, value: 1.0 if at % 3 == 0 else value),
    ],
)
def test_what_only_standard_asks_is_stopped_by_its_gate(
    gate: str,
    metric: str,
    change: Callable[[int, float], float],
    standard_scene: Any,
    studio: Any,
    doctor: Any,
    policies: dict[str, Policy],
) -> None:
    broken = replace(standard_scene, candidate=doctor(standard_scene.candidate, metric, change))
    stopped = failing(judge(read_evidence(studio.artifacts(broken)), policies["standard"]))
    assert set(stopped) == {gate} and stopped[gate].verdict == "FAIL"
    assert (stopped[gate].value or 0.0) < 0
    lost = [row for row in standard_scene.candidate if row["metric"] != metric]
    missing = failing(judge(read_evidence(studio.artifacts(replace(standard_scene, candidate=lost))), policies["standard"]))
    assert set(missing) == {gate} and f"no {metric!r}" in missing[gate].sentence


@pytest.mark.parametrize(
    ("inside", "texts", "verdict", "gates"),
    [(61, 64, "PASS", set()), (30, 32, "INCONCLUSIVE", {"coherence_certified"}), (40, 64, "FAIL", {"coherence", "coherence_certified"})],
)
def test_a_share_is_certified_by_its_bound(
    inside: int, texts: int, verdict: str, gates: set[str], standard_scene: Any, studio: Any, policies: dict[str, Policy]
) -> None:
    """Of 32 texts in two documents 30 inside is 94%: enough for the figure, not for its bound."""
    chance = random.Random(1)
    shown = [{"prompt_id": f"p{n}", "cluster": f"d{n // (1 if texts == 64 else 16)}", "kind": "style", "sample": 0} for n in range(texts)]
    nll: list[float | None] = [4.0 if n < inside else 12.0 for n in range(texts)]
    _, coherent = coherence.measure(shown, nll, [4 + 0.2 * chance.gauss(0, 1) for _ in range(64)], "a reader")
    changed = replace(standard_scene, candidate_summary=standard_scene.candidate_summary | {"coherence": coherent})
    judgement = judge(read_evidence(studio.artifacts(changed)), policies["standard"])
    stopped = failing(judgement)
    assert set(stopped) == gates and judgement.verdict == verdict
    if verdict == "INCONCLUSIVE":
        assert "items would tell" in stopped["coherence_certified"].sentence


@pytest.mark.parametrize("figure", ["toxicity", "coherence", "wrong_script_rate", "human_wrong_script_rate", "memorisation"])
@pytest.mark.parametrize("hole", ["gone", "null", "nan", "text"])
def test_holes_in_what_was_measured_never_pass(figure: str, hole: str, studio: Any, scene: Any, policies: dict[str, Policy]) -> None:
    summary = dict(scene.candidate_summary)
    bad = {"null": None, "nan": math.nan, "text": "0.0"}
    if hole == "gone":
        del summary[figure]
    elif isinstance(summary[figure], dict):
        summary[figure] = {name: bad[hole] if isinstance(value, int | float) else value for name, value in summary[figure].items()}
    else:
        summary[figure] = bad[hole]
    judgement = judge(read_evidence(studio.artifacts(replace(scene, candidate_summary=summary))), policies["quick"])
    assert judgement.verdict == "FAIL" and len(failing(judgement)) >= 1
    assert all("No valid evidence" in gate.sentence for gate in failing(judgement).values())


def test_a_room_that_throws_leaves_no_evidence_and_nothing_passes(
    studio: Any, scene: Any, policies: dict[str, Policy], tmp_path: Path
) -> None:
    with pytest.raises(FloatingPointError, match="not a number"):
        summary_of(HUMAN, [math.nan] * 16)
    failed = {"failed": "a reader gave a likelihood that is not a number: no coherence can be reported"}
    artifacts = studio.artifacts(scene) | {"candidate": studio.failed(failed)}
    judgement = judge(read_evidence(artifacts), policies["quick"])
    assert judgement.verdict == "FAIL"
    stopped = failing(judgement)
    assert {"held_out_nll", "coherence", "toxic_texts", "wrong_script"} <= set(stopped)


def test_policies_with_certify_and_detail_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "mlflow" / "policies" / "standard.toml").read_text()
    for name, before, after in (
        ("certify", 'metric = "coverage_5gram"', 'metric = "coverage_5gram"\ncertify = true'),
        ("detail", 'metric = "coverage_5gram"', 'metric = "coverage_5gram"\ndetail = "corpus.counts.read"'),
    ):
        (tmp_path / "standard.toml").write_text(text.replace(before, after, 1))
        with pytest.raises(ValueError, match=f"{name} belongs to"):
            read_policy(FileInput(tmp_path / "standard.toml").path)


def test_a_gate_that_need_not_certify_is_weaker_than_one_that_must(policies: dict[str, Policy]) -> None:
    strict = policies["standard"]
    lax = strict.model_copy(
        update={"gates": tuple(gate.model_copy(update={"certify": False}) for gate in strict.gates)}
    )  # fmt: skip
    assert lax.weaker_gates(strict) == ["coherence_certified"] and strict.weaker_gates(lax) == []


@pytest.mark.parametrize(
    ("gate", "counted"),
    [
        ("wrong_script", {"prompts": 7}),
        ("toxic_texts", {"toxicity": {"texts": 7, "rate": 0.0, "sentence": "0 of 7 texts."}}),
        ("coherence", {"coherence": {"texts": 7, "share": 1.0, "sentence": "Read."}}),
    ],
)
def test_a_figure_of_a_handful_of_texts_cannot_pass(
    gate: str, counted: dict[str, Any], studio: Any, scene: Any, policies: dict[str, Policy]
) -> None:
    few = replace(scene, candidate_summary=scene.candidate_summary | counted)
    stopped = failing(judge(read_evidence(studio.artifacts(few)), policies["quick"]))
    assert set(stopped) == {gate} and stopped[gate].verdict == "INCONCLUSIVE" and stopped[gate].n == 7
    assert "too few to rely on: 8 are needed, there are 7." in stopped[gate].sentence


def test_nothing_is_claimed_of_a_gate_that_did_not_pass(standard_scene: Any, studio: Any, policies: dict[str, Policy]) -> None:
    """Far better by its bound, and of too few items: INCONCLUSIVE, and no claim beside it."""
    few = {row["item"] for row in standard_scene.candidate if row["metric"] == "copy_accuracy"} - {f"w{n}" for n in range(20)}

    def cut(rows: list[dict[str, Any]], gain: float) -> list[dict[str, Any]]:
        copied = [row | {"value": 0.4 + gain} if row["metric"] == "copy_accuracy" else row for row in rows]
        return [row for row in copied if row["metric"] != "copy_accuracy" or row["item"] not in few]

    scene = replace(standard_scene, candidate=cut(standard_scene.candidate, 0.5), base=cut(standard_scene.base, 0.0))
    judgement = judge(read_evidence(studio.artifacts(scene)), policies["standard"])
    stopped = failing(judgement)
    assert set(stopped) == {"copying"} and (stopped["copying"].low or 0) > 0 and "copying" not in judgement.better


def test_a_share_beyond_one_is_no_evidence(standard_scene: Any, studio: Any, doctor: Any, policies: dict[str, Policy]) -> None:
    broken = replace(standard_scene, candidate=doctor(standard_scene.candidate, "bmc", lambda _, value: value + 1))
    stopped = failing(judge(read_evidence(studio.artifacts(broken)), policies["standard"]))
    assert set(stopped) == {"extraction"} and "is no share between 0 and 1" in stopped["extraction"].sentence
