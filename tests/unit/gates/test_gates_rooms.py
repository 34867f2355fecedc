"""What the rooms of the evaluation leave in a summary is found by the page: probes, audit, figures of the base alone."""

from dataclasses import replace
from typing import Any

import pytest

from timbre.evaluation.bias.audit import audit
from timbre.evaluation.bias.tables import category_table
from timbre.gates.charts import forest
from timbre.gates.figures import audit_tables, category_tables
from timbre.gates.style_section import Side, around
from timbre.gates.verdict import GateResult
from timbre.page.render import cell

MEAN = {"value": 0.25, "low": 0.125, "high": 0.5}
GATE = GateResult("bias", "Bias", "non_inferiority", "m", "PASS", "s", "w", "", 1.0, value=0.003, low=0.001, high=0.005, margin=0.5)


def sides(base: dict[str, Any], candidate: dict[str, Any]) -> list[Side]:
    return [Side("base", "base", base), Side("DFT", "candidate", candidate)]


def test_a_table_of_one_model_is_not_called_after_the_other() -> None:
    rows = [{"metric": "bias_gap", "item": f"p{n}", "cluster": f"t{n % 3}", "value": n / 8} for n in range(6)]
    probes = {"bias_probes": {"table": category_table(rows, None, {f"p{n}": "gender" for n in range(6)})}}
    [table] = category_tables(sides(probes, probes))
    assert table.title == "Paired sentences, one group likelier than the other (by how much, nats)"
    assert [(name, items) for name, items, _ in table.rows] == [("all", 6), ("gender", 6)]
    assert [figure["value"] for _, _, cells in table.rows for figure in cells if figure] == [pytest.approx(2.5 / 8)] * 4


def test_what_only_the_base_was_asked_is_shown_after_the_candidates_tables() -> None:
    unknown, answered = {"unknown_facts": {"by_kind": {"name": MEAN}}}, {"closed_book": {"by_topic": {"matter": MEAN}}}
    tables = category_tables(sides(unknown | answered, answered))
    assert [table.title for table in tables] == [
        "Questions answered, by topic",
        "Statements of the corpus that the model does not know, by kind",
    ]
    assert tables[1].rows == (("name", None, (MEAN, None)),)


def test_who_the_corpus_writes_about_has_a_table_a_category() -> None:
    said = "He was strong, said his wife. She was kind to the young doctor, and he was cruel."
    summary = {"corpus_audit": audit([f"{said} She smiled {'again ' * n}at him." for n in range(12)])}
    [table] = [table for table in audit_tables(sides(summary, summary)) if table["title"] == "gender"]
    assert sum(share for _, _, share, _ in table["rows"]) == pytest.approx(1)
    assert [len(cells) for *_, cells in table["rows"]] == [len(table["near"])] * len(table["rows"]) and "pleasant" in table["near"]
    assert any(cell and cell["value"] for *_, cells in table["rows"] for cell in cells)
    assert audit_tables(sides({}, {})) == []


def test_a_short_interval_does_not_close_to_the_square_of_a_failure() -> None:
    wide = replace(GATE, low=-0.25, high=0.4)
    ends = [str(forest([gate], "base")).count('class="reach PASS"') - 1 for gate in (GATE, wide)]
    assert ends == [0, 2]


def test_a_phrase_is_marked_where_it_stands_also_behind_letters_that_grow_in_lower_case() -> None:
    assert around("İİİ said A Testament to it.", "a testament to") == ("İİİ said ", "A Testament to", " it.")
    assert around("The more or less.", "or") == ("The more ", "or", " less.")
    assert around("Nothing here.", "a testament") == ("Nothing here.", "", "")


def test_a_name_in_the_model_card_is_no_markup() -> None:
    assert cell("<img src=x>|a\nb & c") == "&lt;img src=x>\\|a b &amp; c"
