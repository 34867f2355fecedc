"""The voice gate: told apart from human text less than the base by two families that agree, or it does not pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.gates.conftest import POLICIES, told_apart_items
from timbre.evaluation.apart import measure_told_apart
from timbre.gates.evidence import Evidence, read_evidence
from timbre.gates.policy import Gate, read_policy
from timbre.gates.verdict import GateResult, beside, judge, judge_gate
from timbre.metrics.told_apart import WIDEN
from timbre.statistics.roc import placements, roc_auc

Rows = list[dict[str, Any]]
FAMILIES = ("told_apart_characters", "told_apart_words")
PROMPTS, DOCUMENTS = 72, 12


def voice_of(evidence: Evidence, name: str = "quick") -> GateResult:
    return next(gate for gate in judge(evidence, read_policy(POLICIES / f"{name}.toml")).gates if gate.name == "voice")


@pytest.fixture
def judged(studio: Any, scene: Any) -> Callable[..., GateResult]:
    def judge_voice(candidate: Rows, base: Rows, **changes: Any) -> GateResult:
        def with_items(rows: Rows, items: Rows) -> Rows:
            return [row for row in rows if row["metric"] not in FAMILIES] + items

        changed = replace(scene, candidate=with_items(scene.candidate, candidate), base=with_items(scene.base, base), **changes)
        return voice_of(read_evidence(studio.artifacts(changed)))

    return judge_voice


def arm(characters: float, words: float, seed: int, **sizes: int) -> Rows:
    """Items of an arm that is told apart so well by either family."""
    rng = np.random.default_rng(seed)
    areas = {"told_apart_characters": characters, "told_apart_words": words}
    return [row for metric, area in areas.items() for row in told_apart_items(area, rng, **sizes) if row["metric"] == metric]


@pytest.mark.parametrize(
    ("characters", "words", "verdict"),
    [(0.70, 0.69, "PASS"), (0.85, 0.85, "INCONCLUSIVE"), (0.70, 0.85, "INCONCLUSIVE"), (0.70, 0.999, "FAIL"), (0.999, 0.999, "FAIL")],
)
def test_both_families_must_find_it_nearer_than_the_base(
    characters: float, words: float, verdict: str, judged: Callable[..., GateResult]
) -> None:
    gate = judged(arm(characters, words, 1), arm(0.85, 0.85, 2))
    assert gate.verdict == verdict, gate.sentence
    assert [row["family"] for row in gate.families] == ["characters", "words"]
    assert gate.families[0]["candidate"] == pytest.approx(characters) and gate.families[1]["base"] == pytest.approx(0.85)
    assert all((row["low"] > 0) == (row["verdict"] == "PASS") for row in gate.families)
    assert gate.low == pytest.approx(min(row["low"] for row in gate.families))
    assert f"by characters {characters:.3f} (base 0.850)" in gate.sentence


def test_too_few_documents_or_texts_cannot_tell(judged: Callable[..., GateResult], scene: Any) -> None:
    few = judged(arm(0.7, 0.7, 1, documents=4), arm(0.95, 0.95, 2, documents=4))
    assert few.verdict == "INCONCLUSIVE" and "24 items in 5 clusters are needed, there are 128 in 4" in few.sentence
    reason = "19 texts a side are too few to ask a classifier: 20 are the least"
    nothing = {"texts": 19, "documents": 9, "not_measured": {"characters": reason, "words": reason}}
    summaries = {name: getattr(scene, name) | {"told_apart": nothing} for name in ("candidate_summary", "base_summary")}
    none = judged([], [], **summaries)
    assert none.verdict == "INCONCLUSIVE" and reason in none.sentence and "24 texts of 5 documents are asked" in none.sentence


def test_evidence_that_is_missing_on_one_side_never_passes(judged: Callable[..., GateResult], scene: Any) -> None:
    good, base = arm(0.8, 0.8, 1), arm(0.95, 0.95, 2)
    lost = judged([row for row in good if row["metric"] != "told_apart_words"], base)
    assert lost.verdict == "FAIL" and "no 'told_apart_words'" in lost.sentence
    other = judged([row | {"item": f"x{row['item']}"} for row in good], base)
    assert other.verdict == "FAIL" and "different items" in other.sentence
    excuse = {"texts": 128, "documents": 24, "not_measured": {"characters": "lost", "words": "lost"}}
    assert judged([], [], candidate_summary=scene.candidate_summary | {"told_apart": excuse}).verdict == "FAIL", "enough text is no excuse"


def test_beside_another_version_it_may_be_as_near_but_not_further_than_the_margin() -> None:
    gate = next(gate for gate in read_policy(POLICIES / "quick.toml").gates if gate.name == "voice")
    assert beside(gate, "base") == gate
    version = beside(gate, "v3")
    assert (version.kind, version.margin) == ("non_inferiority", gate.champion_margin)

    def against(candidate: Rows, champion: Rows) -> str:
        items = {side: _by_metric(rows) for side, rows in (("candidate", candidate), ("base", champion))}
        return voice_of(Evidence(items, rival="v3")).verdict

    assert against(arm(0.85, 0.85, 1), arm(0.85, 0.85, 2)) == "PASS"
    assert against(arm(0.999, 0.999, 1), arm(0.70, 0.70, 2)) == "FAIL"


@pytest.mark.parametrize(("documents", "each"), [(5, 5), (16, 8)])
def test_nearer_is_said_of_equal_arms_in_at_most_five_of_a_hundred(documents: int, each: int) -> None:
    """Scores of equally far arms: texts of a document are alike, human texts are shared, and each arm's classifier learnt its own
    chance (so much that areas scatter 1.45 times what DeLong's variance says). Both families see the same: nothing helps but the bound."""
    gate = next(gate for gate in read_policy(POLICIES / "quick.toml").gates if gate.name == "voice")
    rng, runs, count = np.random.default_rng(documents), 400, documents * each
    groups = np.repeat(np.arange(documents), each)
    learnt = 0.14 * np.sqrt(128 / count)

    def shares(human: np.ndarray) -> np.ndarray:
        own = 1.5 + learnt * rng.normal() + 0.3 * rng.normal(size=documents)[groups] + rng.normal(size=count)
        scores = own, human + 0.5 * rng.normal(size=count)
        area = roc_auc(*scores)
        return np.asarray(area + WIDEN * (np.sum(placements(*scores), axis=0) - 2 * area))

    said = 0
    for _ in range(runs):
        human = rng.normal(size=count) + 0.3 * rng.normal(size=documents)[groups]
        sides = {}
        for side in ("candidate", "base"):
            rows = {f"p{n}": (f"d{groups[n]}", float(value)) for n, value in enumerate(shares(human))}
            sides[side] = dict.fromkeys(FAMILIES, rows)
        verdict = judge_gate(Evidence(sides), gate)
        assert verdict.verdict in ("PASS", "FAIL", "INCONCLUSIVE") and verdict.families, verdict.sentence
        said += verdict.verdict == "PASS"
    assert said <= 0.05 * runs


def _by_metric(rows: Rows) -> dict[str, dict[str, tuple[str, float]]]:
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for row in rows:
        found.setdefault(row["metric"], {})[row["item"]] = (row["cluster"], row["value"])
    return found


def prose(seed: int, tics: float) -> list[str]:
    """Sentences of one grammar by a writer who says two words too often; without tics it is the human one."""
    texts = []
    for number in range(PROMPTS):
        rng = np.random.default_rng([seed, number])
        nouns, verbs = (
            ["harbour", "gull", "mast", "tide", "wall", "boat", "lamp", "storm"],
            ["closed", "painted", "saw", "left", "kept", "carried"],
        )
        words = []
        for _ in range(10):
            word = ("delve", "testament")[int(rng.integers(2))] if rng.random() < tics else nouns[int(rng.integers(8))]
            words += ["the", word, verbs[int(rng.integers(6))], "an" if rng.random() < 0.5 else "the", nouns[int(rng.integers(8))] + "."]
        texts.append(" ".join(words))
    return texts


def measured(texts: Sequence[str], human: Sequence[str]) -> Rows:
    """Through the real room."""
    rows = [
        {"kind": "style", "prompt_id": f"p{n}", "cluster": f"d{n % DOCUMENTS}", "text": text, "human": other}
        for n, (text, other) in enumerate(zip(texts, human, strict=True))
    ]
    items, summary = measure_told_apart(rows, [], None, "no model is at hand", tokens=60, seed=0)
    assert summary["texts"] == PROMPTS and summary["words"]["auc"] == pytest.approx(
        np.mean([row["value"] for row in items if row["metric"] == "told_apart_words"])
    )
    return items


def test_controls_through_the_real_room(judged: Callable[..., GateResult]) -> None:
    """A candidate that lost most of the base's tics passes; one that writes as the base does, or worse, does not."""
    human = prose(1, 0.0)
    base = measured(prose(2, 0.25), human)
    nearer, same, worse = (measured(prose(seed, tics), human) for seed, tics in ((3, 0.03), (4, 0.25), (5, 0.9)))
    assert judged(nearer, base).verdict == "PASS"
    assert judged(same, base).verdict == "INCONCLUSIVE"
    assert judged(worse, base).verdict in ("FAIL", "INCONCLUSIVE") and (judged(worse, base).value or 0.0) < 0


def test_families_that_cannot_be_meant_are_refused_and_a_gate_with_fewer_is_weaker() -> None:
    fields = {"name": "voice", "title": "Voice", "kind": "superiority", "metric": "told_apart", "why": "Because of this and that."}
    for wrong, words in (
        ({"families": ["words"]}, "two or more that must agree"),
        ({"families": ["words", "words"]}, "each named once"),
        ({"champion_margin": 0.05}, "champion_margin to gates with families"),
        ({"kind": "ceiling", "limit": 1.0, "families": ["words", "frame"]}, "families belong to paired gates"),
    ):
        with pytest.raises(ValueError, match=words):
            Gate.model_validate(fields | wrong)
    strict = Gate.model_validate(fields | {"families": ["characters", "words"], "champion_margin": 0.05})
    for weaker in ({"families": ["characters", "frame"], "champion_margin": 0.05}, {"families": ["characters", "words"]}):
        assert not Gate.model_validate(fields | weaker).at_least_as_strict_as(strict)
    assert strict.at_least_as_strict_as(strict)
