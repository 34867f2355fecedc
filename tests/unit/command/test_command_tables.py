"""Tables in a terminal of 80 columns: what does not fit is broken or left out whole, and nothing is cut with an ellipsis."""

from typing import Any

import pytest

from timbre.cli.summary import print_gates, print_plan
from timbre.pipeline.plan import Item, Plan


def gate(name: str, verdict: str) -> dict[str, Any]:
    figures = {"value": -0.002795, "low": -0.00284, "high": 0.00133, "margin": 0.05, "limit": None, "scale": 1.0, "n": 30000}
    return figures | {"name": name, "verdict": verdict, "kind": "non_inferiority", "unit": "nats/token", "sentence": "Not told apart."}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_gates_that_cannot_be_told_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_gates([gate("held_out_nll", "INCONCLUSIVE"), gate("memorisation_over_base", "PASS")])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    row = next(line for line in lines if line.startswith("held_out_nll "))
    assert row.split() == ["held_out_nll", "INCONCLUSIVE", "-0.0028", "-0.003", "…", "0.001", ">", "-0.05", "nats/token"]


def test_gates_that_all_passed_say_on_how_many_items(capsys: pytest.CaptureFixture[str]) -> None:
    print_gates([gate("held_out_nll", "PASS")])
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "30000"


def test_a_gate_of_a_long_name_is_whole_too(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a_gate_of_somebody_elses_policy_with_a_long_name"
    print_gates([gate(name, "INCONCLUSIVE")])
    assert f"{name} INCONCLUSIVE -0.0028 -0.003 … 0.001 > -0.05 nats/token" in capsys.readouterr().out


def test_the_plan_breaks_a_long_name_of_a_style_and_keeps_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    style = "-".join(["a-style-that-somebody-chose"] * 2)[:48]
    print_plan(Plan((Item("base_memorisation", False, 26.0, style),), 4.3, numbers="weights in float32"))
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80 and "…" not in shown
    assert style in "".join(shown.replace("to run", "").split())
