"""What Prefect's pages show of a release: the verdict before its gates, and samples that are read without scrolling sideways."""

from timbre.page.render import ticked
from timbre.tasks.gates import gate_rows
from timbre.tasks.release import Released, _sentence, samples_page


def _gate(name: str, verdict: str) -> dict[str, object]:
    return {"name": name, "verdict": verdict, "value": 0.123456, "low": None, "high": None, "margin": 0.25, "n": 8}


def test_the_table_of_gates_says_the_verdict_first_and_then_what_did_not_pass() -> None:
    gates = [_gate("voice", "PASS"), _gate("facts", "INCONCLUSIVE"), _gate("bias", "FAIL"), _gate("parity", "PASS")]
    rows = gate_rows({"verdict": "FAIL", "gates": gates})
    assert [(row["verdict"], row["name"]) for row in rows] == [
        ("FAIL", "all together: 2 of 4 passed"), ("FAIL", "bias"), ("INCONCLUSIVE", "facts"), ("PASS", "voice"), ("PASS", "parity"),
    ]  # fmt: skip
    assert all(list(row) == list(rows[0]) for row in rows) and next(iter(rows[0])) == "verdict", (
        "the page takes its columns from the first row"
    )
    assert (rows[1]["value"], rows[0]["value"]) == (0.1235, None)


def test_the_table_of_gates_calls_them_as_the_report_does_in_the_units_of_the_report() -> None:
    gate = _gate("facts", "PASS") | {
        "title": "Facts told right",
        "scale": 100.0,
        "unit": "pp",
        "value": -0.00667,
        "margin": 0.05,
        "low": -0.028,
    }
    row = gate_rows({"verdict": "PASS", "gates": [gate]})[1]
    assert row == {
        "verdict": "PASS", "name": "Facts told right", "value": -0.667, "unit": "pp", "low": -2.8, "high": None, "margin": 5.0, "n": 8
    }  # fmt: skip


def test_the_log_says_in_a_sentence_what_became_of_a_release() -> None:
    released = Released(model="timbre-sea", verdict="PASS", version=2, champion=2, promoted=True)
    assert _sentence(released) == "timbre-sea: PASS, v2, promoted; v2 is champion"
    nothing = Released(model="timbre-sea", verdict="FAIL", version=None, champion=None, promoted=False)
    assert _sentence(nothing) == "timbre-sea: FAIL, not registered, nothing promoted; there is no champion"


def test_samples_stand_below_their_opening_whatever_signs_they_hold() -> None:
    rows = [{"prompt": f"Opening {number}", "base": "a\0b\nc | d", "candidate": "# no head"} for number in range(6)]
    page = samples_page(rows)
    assert page.count("### Opening") == 4 and "\0" not in page
    block = page.split("### ")[1].split("\n\n")
    assert block[0] == "Opening 0" and block[1].startswith("**base** a b c") and block[2].startswith("**candidate** ")


def test_a_command_in_a_sentence_is_set_as_code_and_nothing_else_becomes_markup() -> None:
    assert str(ticked("run `timbre up <x>` & look")) == "run <code>timbre up &lt;x&gt;</code> &amp; look"
