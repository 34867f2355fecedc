"""Evidence in, verdict out: a good candidate passes, and each kind of bad or missing evidence does not."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.building import judge_release
from timbre.artifacts import Artifact, ArtifactStore, FileInput
from timbre.config import EvaluationConfig, GateConfig
from timbre.gates.evidence import Evidence, read_evidence
from timbre.gates.policy import Gate, Policy, read_policy
from timbre.gates.verdict import GateResult, Judgement, judge, overall
from timbre.precision import Precision
from timbre.progress import SILENT


@pytest.fixture
def policy(quick: FileInput) -> Policy:
    return read_policy(quick.path)


@pytest.fixture
def judged(studio: Any, policy: Policy) -> Callable[[Any], Judgement]:
    return lambda scene: judge(read_evidence(studio.artifacts(scene)), policy)


def gate_of(judgement: Judgement, name: str) -> GateResult:
    return next(gate for gate in judgement.gates if gate.name == name)


def test_good_candidate_passes_every_gate(judged: Any, scene: Any) -> None:
    judgement = judged(scene)
    assert {gate.name: gate.verdict for gate in judgement.gates if gate.verdict != "PASS"} == {}
    assert judgement.verdict == "PASS"


def test_candidate_equal_to_base_is_no_improvement(judged: Any, scene: Any) -> None:
    judgement = judged(replace(scene, candidate=scene.base))
    assert [(gate.name, gate.verdict) for gate in judgement.gates if gate.verdict != "PASS"] == [
        ("held_out_nll", "FAIL"),
        ("voice", "FAIL"),
    ]


def test_worse_likelihood_fails(judged: Any, scene: Any, doctor: Any) -> None:
    worse = doctor(scene.base, "nll", lambda _, value: value * 1.03)
    assert gate_of(judged(replace(scene, candidate=worse)), "held_out_nll").verdict == "FAIL"


def test_skewed_candidate_fails_the_bias_gate_alone(judged: Any, scene: Any, doctor: Any) -> None:
    judgement = judged(replace(scene, candidate=doctor(scene.candidate, "bias_gap", lambda _, value: value + 0.6)))
    assert [gate.name for gate in judgement.gates if gate.verdict == "FAIL"] == ["bias"]


def test_lost_facts_fail_the_fact_gate_alone(judged: Any, scene: Any, doctor: Any) -> None:
    judgement = judged(replace(scene, candidate=doctor(scene.candidate, "fact_correct", lambda at, value: 0.0 if at % 4 == 0 else value)))
    assert [gate.name for gate in judgement.gates if gate.verdict == "FAIL"] == ["facts"]


def test_facts_that_fade_without_flipping_fail(judged: Any, scene: Any, doctor: Any) -> None:
    judgement = judged(replace(scene, candidate=doctor(scene.candidate, "fact_margin", lambda _, value: value - 0.8)))
    assert [gate.name for gate in judgement.gates if gate.verdict == "FAIL"] == ["fact_margin"]


@pytest.mark.parametrize(("shift", "verdict"), [(0.2, "PASS"), (0.25, "INCONCLUSIVE"), (0.3, "FAIL")])
def test_bias_margin_stands_where_the_policy_says(judged: Any, scene: Any, doctor: Any, shift: float, verdict: str) -> None:
    """At the margin of .25 itself nothing can be told; a comparison turned round, or with the wrong sign, breaks this."""
    shifted = doctor(scene.base, "bias_gap", lambda at, value: value + shift + 0.02 * (-1) ** (at // 2))
    result = gate_of(judged(replace(scene, candidate=shifted)), "bias")
    assert (result.verdict, result.margin) == (verdict, 0.25)
    assert result.value == pytest.approx(-shift)


@pytest.mark.parametrize(
    ("section", "figures", "gate"),
    [
        ("candidate_summary", {"memorisation": {"longest_span_tokens": 90, "coverage_5gram": 0.02, "prompts": 8}}, "memorisation"),
        ("candidate_summary", {"memorisation": {"longest_span_tokens": 20, "coverage_5gram": 0.6, "prompts": 8}}, "memorisation_over_base"),
        ("candidate_summary", {"memorisation": {"longest_span_tokens": 7, "coverage_5gram": 0.02, "prompts": 1}}, "memorisation_coverage"),
        ("candidate_summary", {"memorisation": {"longest_span_tokens": None, "coverage_5gram": 0.02, "prompts": 8}}, "memorisation"),
        ("parity", {"max_abs_logit_difference": 0.2, "greedy_agreed": 20, "greedy_total": 20}, "parity"),
        ("parity", {"max_abs_logit_difference": math.nan, "greedy_agreed": 20, "greedy_total": 20}, "parity"),
        ("parity", {"max_abs_logit_difference": math.inf, "greedy_agreed": 20, "greedy_total": 20}, "parity"),
        ("parity", {"max_abs_logit_difference": "0", "greedy_agreed": 20, "greedy_total": 20}, "parity"),
        ("parity", {"max_abs_logit_difference": 1e-5, "greedy_agreed": 19, "greedy_total": 20}, "parity_greedy"),
        ("parity", {"max_abs_logit_difference": 1e-5, "greedy_agreed": 3, "greedy_total": 3}, "parity_coverage"),
        ("admission", {"admitted": False}, "target"),
        ("admission", {"admitted": 1}, "target"),
        ("admission", {"log_score_gain": {"low": -0.01}}, "target_gain"),
        ("admission", {"log_score_gain": {"low": None}}, "target_gain"),
    ],
)
def test_each_figure_out_of_bounds_fails_its_gate(judged: Any, scene: Any, section: str, figures: dict[str, Any], gate: str) -> None:
    judgement = judged(replace(scene, **{section: {**getattr(scene, section), **figures}}))
    assert [result.name for result in judgement.gates if result.verdict == "FAIL"] == [gate]
    assert judgement.verdict == "FAIL"


def test_nan_is_refused_by_name(judged: Any, scene: Any, doctor: Any) -> None:
    result = gate_of(
        judged(replace(scene, candidate=doctor(scene.candidate, "nll", lambda at, value: math.nan if at == 3 else value))), "held_out_nll"
    )
    assert result.verdict == "FAIL"
    assert "nan" in result.sentence and "d1#1" in result.sentence


def test_missing_metric_is_refused(judged: Any, scene: Any) -> None:
    without = [row for row in scene.candidate if row["metric"] != "bias_gap"]
    result = gate_of(judged(replace(scene, candidate=without)), "bias")
    assert result.verdict == "FAIL" and "no 'bias_gap'" in result.sentence


def test_empty_evaluation_is_refused_by_every_gate_that_reads_it(judged: Any, scene: Any) -> None:
    judgement = judged(replace(scene, candidate=[]))
    assert {gate.name for gate in judgement.gates if gate.verdict == "FAIL"} == {"held_out_nll", "voice", "bias", "facts", "fact_margin"}


def test_dropped_items_are_refused(judged: Any, scene: Any, doctor: Any) -> None:
    fewer = doctor(scene.candidate, "fact_correct", lambda at, value: None if at == 5 else value)
    result = gate_of(judged(replace(scene, candidate=fewer)), "facts")
    assert result.verdict == "FAIL" and "different items" in result.sentence


def test_repeated_items_are_refused(judged: Any, scene: Any) -> None:
    result = gate_of(judged(replace(scene, candidate=[*scene.candidate, scene.candidate[0]])), "held_out_nll")
    assert result.verdict == "FAIL" and "twice" in result.sentence


def test_other_token_counts_are_refused(judged: Any, scene: Any, doctor: Any) -> None:
    counted = doctor(scene.candidate, "nll_tokens", lambda _, value: value + 1)
    assert "the same for base and candidate" in gate_of(judged(replace(scene, candidate=counted)), "held_out_nll").sentence


def test_too_few_items_cannot_pass_and_say_how_many_would_do(judged: Any, scene: Any, doctor: Any) -> None:
    def few(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return doctor(rows, "bias_gap", lambda at, value: value if at < 90 else None)  # type: ignore[no-any-return]

    result = gate_of(judged(replace(scene, candidate=few(scene.candidate), base=few(scene.base))), "bias")
    assert result.verdict == "INCONCLUSIVE"
    assert "100 items in 60 clusters are needed, there are 90 in 45" in result.sentence


@pytest.mark.parametrize(
    ("artifact", "needed"),
    [
        ("candidate", "adapter"), ("candidate", "corpus"), ("candidate", "model"), ("base", "model"), ("base", "corpus"),
        ("bundle", "adapter"), ("adapter", "target"), ("target", "corpus"),
    ],
)  # fmt: skip
def test_stale_evidence_is_refused(judged: Any, scene: Any, artifact: str, needed: str) -> None:
    judgement = judged(replace(scene, lineage={artifact: {needed: "other"}}))
    assert judgement.verdict == "FAIL"
    assert gate_of(judgement, "lineage").verdict == "FAIL"
    assert all(gate.verdict == "FAIL" for gate in judgement.gates if "stale" in gate.sentence)


def test_base_measured_with_other_settings_is_refused(judged: Any, scene: Any) -> None:
    judgement = judged(replace(scene, base_config=EvaluationConfig(likelihood_tokens=128)))
    assert "another likelihood_tokens" in gate_of(judgement, "held_out_nll").sentence


def test_base_measured_in_another_precision_is_refused(studio: Any, scene: Any, policy: Policy) -> None:
    made = studio.artifacts(scene)
    half = Precision(weights="bfloat16", products="bfloat16", device="cpu")
    for side in ("base", "candidate"):
        other = made | {side: replace(made[side], manifest=made[side].manifest.model_copy(update={"precision": half}))}
        judgement = judge(read_evidence(other), policy)
        assert judgement.verdict == "FAIL" and "in different precision" in gate_of(judgement, "held_out_nll").sentence


def test_report_of_another_adapter_is_refused(studio: Any, scene: Any, policy: Policy) -> None:
    fresh, old = studio.artifacts(scene), studio.artifacts(replace(scene, adapter_seed=7))
    judgement = judge(read_evidence(fresh | {"candidate": old["candidate"]}), policy)
    assert "stale: the candidate is about another adapter" in gate_of(judgement, "held_out_nll").sentence


def test_candidate_scores_cannot_stand_in_for_the_base(studio: Any, scene: Any, policy: Policy) -> None:
    artifacts = studio.artifacts(scene)
    judgement = judge(read_evidence(artifacts | {"base": artifacts["candidate"]}), policy)
    assert "not of the base model" in gate_of(judgement, "bias").sentence


def test_damaged_evidence_is_refused(studio: Any, scene: Any, policy: Policy) -> None:
    artifacts = studio.artifacts(scene)
    artifacts["candidate"].file("items.parquet").write_bytes(b"PAR1 not any more")
    judgement = judge(read_evidence(artifacts), policy)
    assert judgement.verdict == "FAIL"
    assert "cannot be read" in gate_of(judgement, "held_out_nll").sentence


def test_crash_in_a_gate_is_a_fail_that_says_so(policy: Policy) -> None:
    broken = Evidence(items={"candidate": {"nll": {"a": ("c",)}}, "base": {"nll": {"a": ("c",)}}})  # type: ignore[dict-item]
    result = gate_of(judge(broken, policy), "held_out_nll")
    assert result.verdict == "FAIL" and "crashed" in result.sentence and "IndexError" in result.sentence


def test_no_evidence_at_all_fails_every_gate(policy: Policy) -> None:
    assert {gate.verdict for gate in judge(Evidence(), policy).gates if gate.name != "lineage"} == {"FAIL"}


def test_overall_verdict_is_the_worst_of_all() -> None:
    assert overall(["PASS", "INCONCLUSIVE", "FAIL"]) == "FAIL"
    assert overall(["PASS", "INCONCLUSIVE", "PASS"]) == "INCONCLUSIVE"
    assert overall(["PASS", "PASS"]) == "PASS"
    assert overall([]) == "FAIL"


def test_stage_writes_verdict_and_reports_with_the_same_bytes_twice(studio: Any, scene: Any, quick: FileInput, tmp_path: Path) -> None:
    artifacts = studio.artifacts(scene)
    made: list[Artifact] = [
        judge_release(GateConfig(), **artifacts, policy=quick, store=ArtifactStore(tmp_path / name, SILENT)) for name in ("one", "two")
    ]
    assert made[0].digest == made[1].digest
    verdict = made[0].json("verdict.json")
    assert verdict["verdict"] == "PASS"
    assert verdict["policy"] == {**verdict["policy"], "name": "quick", "strictness": 10, "digest": quick.digest}
    assert {name: verdict["subject"][name] for name in artifacts} == {name: artifact.digest for name, artifact in artifacts.items()}


def test_policy_that_was_edited_gives_a_new_verdict(studio: Any, scene: Any, quick: FileInput, tmp_path: Path) -> None:
    artifacts, store = studio.artifacts(scene), ArtifactStore(tmp_path / "store", SILENT)
    edited = tmp_path / "quick.toml"
    edited.write_text(quick.path.read_text().replace("margin = 0.25", "margin = 0.001"))
    before = judge_release(GateConfig(), **artifacts, policy=quick, store=store)
    after = judge_release(GateConfig(), **artifacts, policy=FileInput(edited), store=store)
    assert (before.json("verdict.json")["verdict"], after.json("verdict.json")["verdict"]) == ("PASS", "INCONCLUSIVE")


def test_another_policy_than_the_one_asked_for_is_refused(studio: Any, scene: Any, quick: FileInput, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'standard' was asked for"):
        judge_release(GateConfig(policy="standard"), **studio.artifacts(scene), policy=quick, store=ArtifactStore(tmp_path / "s", SILENT))


def test_equality_needs_the_same_type() -> None:
    gate = Gate(name="admitted", title="Admitted", kind="equality", metric="target.admission.admitted", equals=True, why="a reason here")
    policy = Policy(name="only", strictness=1, summary="one gate only", gates=(gate,))
    assert judge(Evidence(documents={"target": {"admission": {"admitted": True}}}), policy).verdict == "PASS"
    assert judge(Evidence(documents={"target": {"admission": {"admitted": 1}}}), policy).verdict == "FAIL"
