"""What Prefect's pages show of a release: the verdict before its gates, and samples that are read without scrolling sideways."""

from timbre.tasks.gates import gate_rows
from timbre.tasks.release import samples_page


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


def test_samples_stand_below_their_opening_whatever_signs_they_hold() -> None:
    rows = [{"prompt": f"Opening {number}", "base": "a\0b\nc | d", "candidate": "# no head"} for number in range(6)]
    page = samples_page(rows)
    assert page.count("### Opening") == 4 and "\0" not in page
    block = page.split("### ")[1].split("\n\n")
    assert block[0] == "Opening 0" and block[1].startswith("**base** a b c") and block[2].startswith("**candidate** ")
