"""The proof: what is registered, that nothing is claimed too early or against a lucky setting, and that its cells are made and found."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.proof import arms, tables
from benchmarks.proof.analysis import against_sft, claims, primary, settings_for, sweep
from benchmarks.proof.arms import ABLATIONS, ARMS, BASES, DFT, OTHERS, SEEDS, SFT, STYLES, Cell
from benchmarks.proof.cells import SHELF, configuration
from benchmarks.proof.design import HYPOTHESES, SET_FIGURES, cells, large_cells

STYLE = "conversational"
NAMES = {
    "passages": [f"d{n % 12}" for n in range(24)], "tokens": [255] * 24, "prompts": [f"d{n % 16}" for n in range(48)],
    "facts": [f"f{n}" for n in range(20)], "bias": [f"b{n % 5}" for n in range(20)],
}  # fmt: skip
Figures = dict[str, Any]


def read(seed: int, arm: arms.Arm, *, nll: float = 4.1, entropy: float = 3.9, area: float = 0.85, far: float = 0.02) -> Figures:
    """What a cell reads: noise of its own, and the same of the items in all cells."""
    items, own = np.random.default_rng(0), np.random.default_rng(seed)
    losses = 255 * (nll + items.normal(0, 0.2, 24) + own.normal(0, 0.002, 24))
    shares = items.normal(0, 0.2, 48)
    told = {
        name: {"auc": area, "shares": (area + shares + own.normal(0, 0.01, 48)).tolist(), "floor": 0.5}
        for name in ("characters", "words", "frame")
    }
    style = {
        name: {"value": far, "human": 0.0, "sigma": 0.01, "replicates": (far + own.normal(0, 0.001, 100)).tolist()}
        for name in SET_FIGURES
    }  # fmt: skip
    texts = {"told_apart": told, "covered": [0.001] * 48, "style": style}
    likelihood = {"nll": losses.tolist(), "entropy": [255 * entropy] * 24}
    return {
        "texts": dict.fromkeys(arm.samplers, texts), "likelihood": {f"{t:g}": likelihood for t in arm.temperatures},
        "recited": [0.02] * 4, "recited_from": [f"t{seed % 10}-{n}" for n in range(4)],
        "fact_margin": items.normal(1, 1, 20).tolist(), "bias_gap": items.uniform(0, 1, 20).tolist(),
    }  # fmt: skip


def proof(seeds: tuple[int, ...] = SEEDS, rivals: dict[str, dict[str, float]] | None = None, **dft: float) -> dict[Cell, Figures]:
    found: dict[Cell, Figures] = {Cell("base", STYLE, "cpu", 0): {"items": NAMES, "read": read(99, BASES[0], nll=4.4, area=0.98)}}
    for seed in seeds:
        for place, arm in enumerate(SFT):
            found[Cell(arm.name, STYLE, "cpu", seed)] = {"read": read(10 * place + seed, arm, **(rivals or {}).get(arm.name, {}))}
        found[Cell("dft", STYLE, "cpu", seed)] = {"read": read(40 + seed, DFT, **dft)}
    return found


def test_the_primary_claim_needs_both_families_against_every_setting_of_sft() -> None:
    assert primary(against_sft(proof(area=0.75), STYLE, "cpu"))
    assert not primary(against_sft(proof(area=0.85), STYLE, "cpu"))
    one_is_nearer = proof(area=0.75, rivals={"sft-budget": {"area": 0.74}})
    assert not primary(against_sft(one_is_nearer, STYLE, "cpu"))
    assert "does not hold" in tables.answer(one_is_nearer, STYLE, "cpu") and "claim holds" in tables.answer(proof(area=0.75), STYLE, "cpu")


def test_nothing_is_claimed_before_every_seed_is_there_or_where_a_seed_turns_round() -> None:
    early = proof(seeds=(1, 2), area=0.6, nll=3.9, far=0.001)
    assert "nothing is claimed yet" in tables.answer(early, STYLE, "cpu")
    against = against_sft(early, STYLE, "cpu")
    assert not primary(against) and claims(against) == []
    assert {each.shown.verdict for each in against} == {"too few seeds"}
    turned = proof(area=0.75)
    turned[Cell("dft", STYLE, "cpu", 2)] = {"read": read(42, DFT, area=0.86)}
    assert not primary(against_sft(turned, STYLE, "cpu"))


def test_secondary_claims_are_those_that_hold_against_the_best_setting_for_sft() -> None:
    found = claims(against_sft(proof(nll=4.05, entropy=3.9, far=0.005), STYLE, "cpu"))
    assert set(found) == {"likelier", "better calibrated", "content", "style features", "openers", "self-BLEU", "sentence lengths"}
    beaten = proof(nll=4.05, far=0.005, rivals={"sft-budget": {"nll": 4.04, "far": 0.004}})
    assert {"likelier", "content"}.isdisjoint(claims(against_sft(beaten, STYLE, "cpu")))
    shown = {each.hypothesis.name: each.shown for each in against_sft(beaten, STYLE, "cpu")}
    assert shown["likelier"].rival.startswith("sft-budget") and shown["likelier"].interval.mean == pytest.approx(-0.01, abs=0.005)
    assert shown["facts kept"].verdict == "not worse"


def test_what_each_seed_learnt_itself_is_put_together_and_not_averaged_item_by_item() -> None:
    found = proof()
    for seed in SEEDS:
        found[Cell("dft", STYLE, "cpu", seed)]["read"]["recited"] = [0.0, 0.0, 0.01, 0.01]
    shown = {each.hypothesis.name: each for each in against_sft(found, STYLE, "cpu")}["recites less"]
    bound = shown.settings[shown.best].at(0.95)
    assert (bound.n, bound.clusters) == (12, 12) and bound.mean == pytest.approx(0.015) and bound.low > 0


def test_every_setting_of_the_sweep_is_a_rival() -> None:
    assert {setting.how for setting in settings_for("nll", SFT)} == {"0.9", "1", "1.1"}
    assert {setting.how for setting in settings_for("characters", SFT)} == {"serving", "cooler", "min-p"}
    large = settings_for("words", sweep("large"))
    assert len({setting.arm.name for setting in large}) == 6 and len({setting.how for setting in large}) == 7


def test_a_refused_level_is_a_row_with_its_figures() -> None:
    found = proof()
    witness = [{"family": "words", "plain_auc": 0.835, "weighted_auc": 0.845}]
    for seed in SEEDS:
        refused = {"level": "sequence", "critic_auc": 0.8, "ess": 0.28, "why": "refused: too few", "witnesses": witness}
        chosen = [{"how": "best of 4", "told_apart": {"words": {"auc": 0.8 + seed / 100}}}]
        found[Cell("dft-sequence", STYLE, "cpu", seed)] = {"refused": refused, "chosen": chosen}
    rows = [row[0] for row in tables.arm_rows(found, STYLE, "cpu")]
    assert "DFT and sequence level: refused: critic's area 0.800, effective sample size 0.28; words 0.835 → 0.845 (3 of 3 seeds)" in rows
    assert "the critic at inference, on unseen training documents: best of 4 words 0.820 (3 of 3 seeds)" in rows
    assert "GEM, β = .7: not run" in rows


def test_sft_gets_all_the_passes_that_the_target_of_dft_costs() -> None:
    place = configuration(Cell("dft", STYLE, "cpu", 1))
    passes = place["target"]["reference_epochs"] * (place["folds"] - 1) + 1 / 3 + place["training"]["epochs"]
    assert max(configuration(Cell(arm.name, STYLE, "cpu", 1))["training"]["epochs"] for arm in SFT) >= passes


def test_every_arm_of_the_issue_is_a_cell_and_every_cell_is_run_or_named_as_missing() -> None:
    small = cells()
    assert len(small) == len(set(small)) == len(STYLES) * (len(BASES) + len(SEEDS) * len((DFT, *SFT, *OTHERS)))
    assert {cell.arm for cell in large_cells()} >= {arm.name for arm in ABLATIONS} and {cell.seed for cell in large_cells()} == {0, *SEEDS}
    found = tables.stored()
    assert len([cell for cell in found if cell.size == "cpu"]) + len(tables.missing(found)) == len(small)
    assert len({SHELF.path(cell).name for cell in (*small, *large_cells())}) == len((*small, *large_cells())), "a file a cell"
    assert len({each.name for each in HYPOTHESES}) == len(HYPOTHESES)


def test_page_is_made_from_the_committed_cells() -> None:
    assert tables.markdown(tables.stored()).strip() == tables.PAGE.generated()


def test_the_step_of_the_flow_gives_the_headline_rows_and_says_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbre.settings import settings
    from timbre.tasks import proof as step

    assert step.prove_for(0) == json.loads(json.dumps(tables.headline(tables.stored())))
    monkeypatch.setenv("TIMBRE_ROOT", str(tmp_path))
    settings.cache_clear()
    try:
        with pytest.raises(ValueError, match="from a checkout of the source"):
            step.prove_for(0)
    finally:
        settings.cache_clear()


@pytest.mark.parametrize("style", [STYLE, "instructions"])
def test_cells_are_made_by_the_release_s_own_stages_and_found_again(style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base, SFT and DFT of a tiny random model: their JSON says what tables need, and a second run computes nothing."""
    from benchmarks.proof import cells as made
    from benchmarks.tiny import tiny_corpus, tiny_model
    from benchmarks.trial import Trial
    from timbre.artifacts import ArtifactStore
    from timbre.settings import settings

    store = ArtifactStore(tmp_path / "home")
    tiny = replace(
        arms.LITTLE, train_tokens=1_152, passage_tokens=48, admission_tokens=768, reference_epochs=3, learning_rate=1e-2, batch_tokens=256,
        validation_tokens=256, likelihood_tokens=512, prompts=20, prompt_tokens=8, new_tokens=24,
    )  # fmt: skip
    monkeypatch.setitem(arms.SIZES, "cpu", tiny)
    monkeypatch.setitem(arms.PROBES, "cpu", 6)
    monkeypatch.setitem(arms.POOL, "cpu", (40, 2))
    monkeypatch.setattr(made, "SHELF", replace(made.SHELF, folder=tmp_path))
    monkeypatch.setattr(made, "packaged_encoder", lambda: None)
    replay = settings().root / "data" / "replay" / "replay.jsonl"
    monkeypatch.setattr(
        made, "trial", lambda name, style, size, seed, _: Trial(size, tiny_model(store), tiny_corpus(store), replay, store, seed)
    )
    ours = [Cell("base", style, "cpu", 0), Cell("sft-high", style, "cpu", 1), Cell("dft", style, "cpu", 1)]
    if style == STYLE:
        ours += [Cell("base-asked", style, "cpu", 0), Cell("dft-sequence", style, "cpu", 1)]
    found = {cell: made.run(cell) for cell in ours}
    if "refused" in found[ours[2]]:
        pytest.fail(found[ours[2]]["refused"]["why"])
    if style == STYLE:
        level = found[ours[-1]]
        assert ("refused" in level) is not ("read" in level), "refused with its figures, or taught and read"
        assert [row["how"] for row in level["chosen"]] == ["any", "drawn by weight", "best of 2"]
    monkeypatch.setattr(tables, "SHELF", made.SHELF)
    assert tables.stored().keys() == set(ours)
    rows = tables.arm_rows(tables.stored(), style, "cpu")
    assert any(row[0].startswith(ARMS["dft"].title) and "1 of 3 seeds" in row[0] for row in rows)
    assert {each.hypothesis.figure for each in against_sft(found, style, "cpu")} >= {"nll", "characters", "recited", "covered", "mmd_style"}
    monkeypatch.setattr(made, "_measured", None)
    assert [made.run(cell)["cell"] for cell in ours] == [cell.name for cell in ours]
    assert json.loads(made.SHELF.path(ours[1]).read_bytes())["configuration"]["training"]["objective"] == "sft"
