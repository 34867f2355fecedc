"""The trial on little text: what its cells say, that page and evidence are made from them, and that nothing is claimed too early."""

from typing import Any

import numpy as np
import pytest

from benchmarks.little_text import tables
from benchmarks.little_text.analysis import differences, pays
from benchmarks.little_text.arms import SEEDS, SIZES, STYLE, Cell
from benchmarks.little_text.design import ARMS, HYPOTHESES, LONG, cells

NAMES = {
    "passages": [f"d{n % 6}" for n in range(24)], "tokens": [255] * 24, "prompts": [f"d{n % 6}" for n in range(48)],
    "facts": [f"f{n}" for n in range(20)], "bias": [f"b{n % 5}" for n in range(20)],
}  # fmt: skip


def figures(seed: int, nll: float = 4.1, area: float = 0.85, entropy: float = 3.9) -> dict[str, Any]:
    """A cell's figures: noise of its own, and the same of the items in all cells."""
    items, own = np.random.default_rng(0), np.random.default_rng(seed)
    losses = 255 * (nll + items.normal(0, 0.2, 24) + own.normal(0, 0.002, 24))
    told = {
        name: {"auc": area, "shares": (area + items.normal(0, 0.2, 48) + own.normal(0, 0.01, 48)).tolist()}
        for name in ("characters", "words", "frame")
    }
    read = {
        "nll": losses.tolist(), "entropy": [255 * entropy] * 24, "told_apart": told, "covered": own.uniform(0, 0.002, 48).tolist(),
        "recited": [0.0] * 4, "fact_margin": items.normal(1, 1, 20).tolist(), "bias_gap": items.uniform(0, 1, 20).tolist(),
        "summary": {"nll": nll, "calibration_gap": nll - entropy, "ece": 0.05},
    }  # fmt: skip
    return {"best": [3.0, nll], "read": read}


def trial(dft: dict[str, float], seeds: tuple[int, ...] = SEEDS) -> dict[Cell, Any]:
    found: dict[Cell, Any] = {Cell("base", 0, 0): {"items": NAMES, "read": figures(99, 4.4, 0.98)["read"]}}
    for seed in seeds:
        found[Cell("sft", 4_096, seed)] = figures(seed)
        found[Cell("regularised", 4_096, seed)] = figures(10 + seed, nll=4.102)
        found[Cell("dft", 4_096, seed)] = figures(20 + seed, **dft)
        found[Cell("sft-over-trained", 4_096, seed)] = figures(30 + seed, nll=4.3, entropy=3.3)
        found[Cell("dft-over-trained", 4_096, seed)] = figures(40 + seed, nll=4.1)
    return found


@pytest.mark.parametrize(
    ("dft", "answer"),
    [
        ({"nll": 4.05, "area": 0.83}, True), ({"nll": 4.1, "area": 0.85}, False), ({"nll": 4.05, "area": 0.92}, False),
        ({"nll": 4.15, "area": 0.70}, False),
    ],
    ids=["likelier and nearer", "a tie", "likelier and farther", "nearer and less likely"],
)  # fmt: skip
def test_a_soft_target_pays_only_where_it_is_likelier_and_not_farther(dft: dict[str, float], answer: bool) -> None:
    found = trial(dft)
    assert pays(differences(found, NAMES, 4_096, STYLE)) is answer
    assert ("does not pay" in tables.answer(found, 4_096, STYLE)) is not answer
    assert tables.evidence(found)["sizes"]["4096"]["pays"] is answer


def test_nothing_is_claimed_before_every_seed_and_rival_is_there() -> None:
    found = trial({"nll": 4.0, "area": 0.7}, seeds=(1, 2))
    assert pays(differences(found, NAMES, 4_096, STYLE)) is None and "says nothing yet" in tables.answer(found, 4_096, STYLE)
    assert tables.evidence(found)["sizes"] == {}
    assert {each.verdict for each in differences(found, NAMES, 4_096, STYLE)} == {"too few seeds"}
    without = {cell: each for cell, each in trial({"nll": 4.0, "area": 0.7}).items() if cell.arm != "regularised"}
    assert pays(differences(without, NAMES, 4_096, STYLE)) is None
    beaten = {cell: each for cell, each in trial({"nll": 4.2, "area": 0.7}).items() if cell.arm != "regularised"}
    assert pays(differences(beaten, NAMES, 4_096, STYLE)) is False, "what one rival decides needs no other"


def test_differences_are_of_the_one_that_is_tried_and_a_seed_that_turns_round_makes_no_claim() -> None:
    found = trial({"nll": 4.05, "area": 0.83})
    by_name = {(each.hypothesis.name, each.rival): each for each in differences(found, NAMES, 4_096, STYLE)}
    assert len(by_name) == sum(1 if each.long else 2 for each in HYPOTHESES)
    assert by_name["likelier", "sft"].interval.mean == pytest.approx(0.05, abs=0.005)
    assert by_name["voice, words", "sft"].interval.mean == pytest.approx(0.02, abs=0.01)
    assert by_name["likelier after ten epochs", "sft"].interval.mean == pytest.approx(0.2, abs=0.005)
    assert by_name["calibrated after ten epochs", "sft"].interval.mean == pytest.approx(0.8, abs=0.01)
    assert by_name["better calibrated", "sft"].verdict == "better"
    assert by_name["facts kept", "sft"].verdict == "not worse"
    for seed in SEEDS:  # a little worse on every seed, and within the margin
        found[Cell("dft", 4_096, seed)]["read"]["bias_gap"] = [value + 0.1 for value in found[Cell("sft", 4_096, seed)]["read"]["bias_gap"]]
    kept = {(each.hypothesis.name, each.rival): each for each in differences(found, NAMES, 4_096, STYLE)}["bias kept", "sft"]
    assert kept.interval.high < 0 and kept.verdict == "not worse" and kept.holds
    found[Cell("dft", 4_096, 2)] = figures(22, nll=4.101)
    turned = {(each.hypothesis.name, each.rival): each for each in differences(found, NAMES, 4_096, STYLE)}["likelier", "sft"]
    assert turned.verdict == "open" and not turned.holds and turned.interval.low > 0


def test_page_and_evidence_are_made_from_the_committed_cells() -> None:
    found = tables.stored()
    assert tables.markdown(found).strip() == tables.PAGE.generated()
    assert tables.evidence_bytes(found) == tables.EVIDENCE.read_bytes()


def test_every_cell_is_run_or_named_as_missing() -> None:
    found = tables.stored()
    assert len(found) + len(tables.missing(found)) == len(cells()) == len(set(cells()))
    assert {(cell.arm, cell.tokens, cell.seed) for cell in cells() if cell.tokens and cell.style == STYLE} == {
        (arm, tokens, seed) for arm in (*ARMS, *LONG) for tokens in SIZES for seed in SEEDS
    }
