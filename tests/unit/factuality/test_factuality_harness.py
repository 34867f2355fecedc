"""lm-evaluation-harness on local files: refusals everywhere, and the whole way where the extra is installed."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from timbre.benchmarks import harness, sandbox
from timbre.benchmarks.harness import check, compared, run_tasks

PROGRAM = {
    "task_id": "T/0", "prompt": "def double(x):\n    ", "entry_point": "double", "canonical_solution": "return 2 * x",
    "test": "def check(candidate):\n    assert candidate(2) == 4 and candidate(0) == 0",
}  # fmt: skip


def rows(task: str, values: list[float]) -> list[dict[str, Any]]:
    return [{"metric": f"harness_{task}", "item": str(n), "cluster": str(n // 2), "value": value} for n, value in enumerate(values)]


def test_tasks_without_data_or_without_the_extra_are_refused_before_a_model_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "TruthfulQA.csv"
    file.write_text("x")
    with pytest.raises(ValueError, match="known are mmlu"):
        check({})
    with pytest.raises(ValueError, match="unknown task 'gsm8k'"):
        check({"gsm8k": file})
    with pytest.raises(ValueError, match="does not exist: mmlu reads a file that you download"):
        check({"mmlu": tmp_path / "absent"})
    with pytest.raises(ValueError, match="no folder dev/"):
        check({"mmlu": tmp_path}, shots=5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'timbre\[benchmarks\]'"):
        check({"truthfulqa_mc1": file})


def test_programs_are_refused_where_there_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "HumanEval.jsonl"
    file.write_text("{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(sandbox, "unavailable", lambda: "there are no namespaces here")
    with pytest.raises(ValueError, match="runs programs that the model writes, and there are no namespaces"):
        check({"humaneval": file})


def test_base_and_candidate_are_compared_item_by_item() -> None:
    base, worse = rows("mmlu", [1.0] * 60 + [0.0] * 60), rows("mmlu", [1.0] * 20 + [0.0] * 100)
    table = compared(base, worse)
    assert list(table) == ["mmlu"] and table["mmlu"]["difference"] == pytest.approx(-1 / 3)
    assert table["mmlu"]["high"] < -0.1 and table["mmlu"]["base"]["value"] == 0.5
    assert compared(base, base)["mmlu"]["low"] < 0 == compared(base, base)["mmlu"]["difference"]
    mass = compared(rows("truthfulqa_mc2", [0.3, 0.4, 0.5, 0.6]), rows("truthfulqa_mc2", [0.35, 0.45, 0.55, 0.65]))["truthfulqa_mc2"]
    assert mass["low"] == pytest.approx(0.05) == mass["difference"]
    json.dumps(table, allow_nan=False)
    with pytest.raises(ValueError, match="different items of mmlu"):
        compared(base, worse[:-1])


@pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
def test_a_written_function_passes_by_its_tests_and_not_by_leaving_early() -> None:
    assert harness._passes(PROGRAM, ["return 2 * x\n"]) == {"passed": 1}
    for wrong in ("return x\n", "raise SystemExit(0)\n", "import os; os._exit(0)\n", "return 2 *"):
        assert harness._passes(PROGRAM, [wrong]) == {"passed": 0}


def test_the_whole_way_on_a_tiny_model(tmp_path: Path, tiny_model_dir: Path, tiny_tokenizer: Any) -> None:
    pytest.importorskip("lm_eval", reason="needs timbre[benchmarks]")
    from transformers import AutoModelForCausalLM

    for folder in ("test", "dev"):
        (tmp_path / "mmlu" / folder).mkdir(parents=True)
        with (tmp_path / "mmlu" / folder / f"anatomy_{folder}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[f"Which bone, {n}?", "a", "b", "c", "d", "ABCD"[n % 4]] for n in range(5)])
    header = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source"
    lines = [f"A,Myths,Do {n} cows fly?,No,No; They walk,Yes; At night,s" for n in range(3)]
    (tmp_path / "TruthfulQA.csv").write_text("\n".join([header, *lines]))
    (tmp_path / "HumanEval.jsonl").write_text("".join(json.dumps(PROGRAM | {"task_id": f"T/{n}"}) + "\n" for n in range(2)))
    data = {"mmlu": tmp_path / "mmlu", "truthfulqa_mc1": tmp_path / "TruthfulQA.csv", "truthfulqa_mc2": tmp_path / "TruthfulQA.csv"}
    if sandbox.unavailable() is None:
        data["humaneval"] = tmp_path / "HumanEval.jsonl"
    model = AutoModelForCausalLM.from_pretrained(str(tiny_model_dir))
    model.train(False)
    items = run_tasks(model, tiny_tokenizer(), data, limit=4, shots=1, new_tokens=8)
    found = {metric: [row for row in items if row["metric"] == metric] for metric in {row["metric"] for row in items}}
    assert {name: len(own) for name, own in found.items()} == {
        "harness_mmlu": 4, "harness_truthfulqa_mc1": 3, "harness_truthfulqa_mc2": 3,
        **({"harness_humaneval": 2} if "humaneval" in data else {}),
    }  # fmt: skip
    assert {row["cluster"] for row in found["harness_mmlu"]} == {"anatomy"}
    assert all(0 < row["value"] < 1 for row in found["harness_truthfulqa_mc2"])
    assert {row["value"] for row in found["harness_truthfulqa_mc1"]} <= {0, 1}
    assert items == run_tasks(model, tiny_tokenizer(), data, limit=4, shots=1, new_tokens=8)
    table = compared(items, items)
    assert table["truthfulqa_mc1"]["difference"] == 0 and table["mmlu"]["low"] is None, "one subject has no interval"
