"""What bf16 costs, on a tiny model: the figures are those of two sets of weights, not of one."""

from pathlib import Path

import pytest

from tests.building import add_source, prose


def test_rounding_compares_two_precisions_on_unseen_text(home: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    from benchmarks.rounding import rounding

    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(24):
        (folder / f"{number}.txt").write_text(prose(number, 20), encoding="utf-8")
    add_source(folder, "notes", "Ann", "own work", home=home)
    found = rounding(str(tiny_model_dir), None, "notes", 300)
    assert 0 < found["tokens"] <= 301 and found["nll_rise"] == pytest.approx(found["nll_bf16"] - found["nll_fp32"], abs=2e-5)
    assert 0 < found["kl"] < 0.05 and 0.5 < found["same_top"] <= 1, "near the fp32 model, and not the same"
