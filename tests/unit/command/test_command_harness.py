"""`timbre harness`: what it refuses before anything is loaded, and how a table reads."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.harness import _line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["literary", "mmlu=x"], "STYLE@N"), (["literary@x", "mmlu=x"], "STYLE@N"), (["literary@3", "gsm8k=x"], "mmlu=PATH"),
        (["literary@3", "mmlu"], "mmlu=PATH"), (["literary@3", "mmlu=a", "mmlu=b"], "named twice"),
        (["literary@3", "mmlu=/nowhere/at/all"], "does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_a_sentence(words: list[str], message: str, home: Path) -> None:
    result = CliRunner().invoke(app, ["harness", *words])
    assert isinstance(result.exception, ValueError) and message in str(result.exception)


def test_a_row_fits_a_terminal_and_one_subject_has_no_bounds() -> None:
    side = {"value": 0.25, "low": 0.2, "high": 0.3, "items": 14042, "clusters": 57}
    row = {"base": side, "candidate": side | {"value": 1.0}, "difference": -0.75, "low": -1.0, "high": -0.5, "items": 14042}
    assert len(_line("truthfulqa_mc1", row)) <= 80 and "-100.0 … -50.0 points" in _line("mmlu", row)
    assert "one subject" in _line("mmlu", row | {"low": None, "high": None})
