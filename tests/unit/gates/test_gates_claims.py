"""What a verdict claims beside PASS and FAIL, simulated through the verdict itself: too often is at most five in a hundred."""

import numpy as np
import pytest

from timbre.gates.evidence import Evidence
from timbre.gates.policy import Gate, Policy
from timbre.gates.verdict import judge

METRICS = tuple(f"m{place}" for place in range(8))
CLUSTERS, RUNS = 24, 240
SLACK = 2.33 * (0.05 * 0.95 / RUNS) ** 0.5
"""99% of simulations of a true 5% stay below .05 by that much."""


def _policy() -> Policy:
    """Four gates that ask for an improvement and four that allow a loss: all eight may be claimed, whatever they ask."""
    gates = [
        Gate(name=metric, title=metric, kind="superiority" if place % 2 else "non_inferiority", metric=metric, direction="higher",
             margin=None if place % 2 else 0.4, why="of a simulation")
        for place, metric in enumerate(METRICS)
    ]  # fmt: skip
    return Policy(name="simulated", strictness=1, summary="Eight paired gates of a simulation.", gates=tuple(gates))


def _evidence(rng: np.random.Generator, gains: np.ndarray) -> Evidence:
    """Correlated differences of eight metrics on the same texts, `gains` better on average."""
    differences = 0.5 * rng.normal(size=(CLUSTERS, 1)) + rng.normal(size=(CLUSTERS, 8)) + gains
    return Evidence({"base": _items(np.zeros_like(differences)), "candidate": _items(differences)})


def _items(values: np.ndarray) -> dict[str, dict[str, tuple[str, float]]]:
    return {
        metric: {f"d{row}": (f"d{row}", float(value)) for row, value in enumerate(values[:, place])} for place, metric in enumerate(METRICS)
    }


def test_a_candidate_that_is_nowhere_better_is_called_so_in_five_of_a_hundred_verdicts() -> None:
    """With a family of the gates that passed, one superiority gate that passed by luck was a family of its own."""
    rng, policy = np.random.default_rng(7), _policy()
    judgements = [judge(_evidence(rng, np.zeros(8)), policy) for _ in range(RUNS)]
    lucky = np.mean([any(gate.verdict == "PASS" for gate in found.gates if gate.kind == "superiority") for found in judgements])
    wrong = np.mean([bool(found.better) for found in judgements])
    assert lucky > 0.10, "there is luck to be had"
    assert wrong <= 0.05 + SLACK
    assert {found.family for found in judgements} == {METRICS}


def test_real_improvements_are_claimed_and_drag_no_others_along() -> None:
    rng, policy, gains = np.random.default_rng(8), _policy(), np.array([1.6, 1.6, 0, 0, 0, 0, 0, 0])
    judgements = [judge(_evidence(rng, gains), policy) for _ in range(RUNS // 2)]
    assert np.mean([{"m0", "m1"} <= set(found.better) for found in judgements]) > 0.9
    assert np.mean([bool(set(found.better) - {"m0", "m1"}) for found in judgements]) <= 0.05 + 2**0.5 * SLACK


@pytest.mark.parametrize("what", ["missing", "not a number", "too few"])
def test_a_gate_without_sound_evidence_stays_in_the_family_and_is_never_claimed(what: str) -> None:
    evidence, policy = _evidence(np.random.default_rng(9), np.full(8, 2.0)), _policy()
    candidate = dict(evidence.items["candidate"])
    if what == "missing":
        del candidate["m3"]
    elif what == "not a number":
        candidate["m3"] = {item: (cluster, float("nan")) for item, (cluster, _) in candidate["m3"].items()}
    else:
        few = [gate.model_copy(update={"minimum_items": 1000}) if gate.name == "m3" else gate for gate in policy.gates]
        policy = policy.model_copy(update={"gates": tuple(few)})
    judgement = judge(Evidence({"base": evidence.items["base"], "candidate": candidate}), policy)
    assert judgement.family == METRICS
    assert set(judgement.better) == set(METRICS) - {"m3"}
