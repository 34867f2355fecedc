"""The paper estimate says what its documentation prints, and its arithmetic has the ratios that it claims."""

from dataclasses import replace

import pytest

from benchmarks.scale import Work, estimate, line, operations, predicted, state, stored, table
from timbre.settings import PROJECT_ROOT


def test_the_table_of_the_documentation_is_the_one_that_is_printed() -> None:
    page = (PROJECT_ROOT / "docs" / "explanation" / "scale.md").read_text(encoding="utf-8")
    rows = [line(name, one) for name, one in table(1e9, 2.5)]
    assert len(rows) == 12 and [row for row in rows if row not in page] == []


def test_the_methods_differ_by_what_they_read_and_hold() -> None:
    work = Work(7e9, 1e9)
    hours = {method: estimate(work, method, 1.0).gpu_hours for method in ("SFT", "DFT", "resident teacher")}
    assert 1.4 < hours["DFT"] / hours["SFT"] < 1.5 and hours["resident teacher"] > hours["DFT"]
    assert state(work, "resident teacher") - state(work, "DFT") == 2 * work.parameters
    assert operations(replace(work, tokens=2e9), "DFT")[0] == 2 * operations(work, "DFT")[0]
    assert stored(replace(work, vocabulary=49_152)) == 202e9 and stored(work) == 330e9
    with pytest.raises(ValueError, match="no such method"):
        operations(work, "magic")


def test_a_target_is_predicted_by_the_passes_of_its_adapter() -> None:
    """The README's release: 8,192 tokens, one epoch of references, three of training."""
    target = {"train_tokens": 8192, "reference_epochs": 1, "admission_tokens": 2048}
    training = {"epochs": 3, "batch_tokens": 512, "evaluate_every": 16, "validation_tokens": 2048}
    assert predicted(target, training, 100.77) == pytest.approx(58.6, abs=0.1)
    assert predicted(target, training, 191.54) - 10 == pytest.approx(2 * (predicted(target, training, 100.77) - 10), abs=0.1)
