"""Question files that a user points to, in the forms that the sets are spread in; every text here is made up."""

import csv
import json
from pathlib import Path

import pytest

from timbre.benchmarks.catalogue import find_benchmark
from timbre.benchmarks.items import Choice

HEADER = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]


def table(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(name: str, path: Path) -> list[Choice]:
    items = find_benchmark(name).read(path)
    assert all(isinstance(item, Choice) for item in items)
    return [item for item in items if isinstance(item, Choice)]


def test_truthfulqa_has_the_best_answer_first_and_all_true_ones_right(tmp_path: Path) -> None:
    row = ["Adversarial", "Myths", "Do cows fly?", "No, they walk", "Cows do not fly; No, they walk.; ", "Yes; At night; Yes.", "made up"]
    (item,) = read("truthfulqa", table(tmp_path / "TruthfulQA.csv", [HEADER, row]))
    assert item.choices == ("No, they walk", "Cows do not fly", "Yes", "At night") and item.right == {0, 1}
    assert item.question == "Q: Do cows fly?\nA:" and item.category == "Myths"


def test_truthfulqa_items_keep_their_names_when_rows_are_added_and_columns_move(tmp_path: Path) -> None:
    row = dict(zip(HEADER, ["A", "Myths", "Do cows fly?", "No", "No", "Yes", ""], strict=True))
    other = dict(zip(HEADER, ["A", "Myths", "Do pigs fly?", "No", "No", "Yes", ""], strict=True))
    header = ["Best Incorrect Answer", *HEADER[::-1]]
    (first,) = read("truthfulqa", table(tmp_path / "a.csv", [HEADER, list(row.values())]))
    moved = [["", *[one[name] for name in HEADER[::-1]]] for one in (other, row)]
    assert read("truthfulqa", table(tmp_path / "b.csv", [header, *moved]))[1] == first


def test_mmlu_is_read_from_a_file_or_the_folder_of_the_download(tmp_path: Path) -> None:
    for folder, subject in (("test", "high_school_botany"), ("test", "anatomy"), ("dev", "anatomy")):
        (tmp_path / folder).mkdir(exist_ok=True)
        table(
            tmp_path / folder / f"{subject}_{folder}.csv",
            [["What is, say, green?", "a leaf", "milk", "coal", "snow", "A"], ["Two?", "1", "2", "3", "4", "B"]],
        )
    items = read("mmlu", tmp_path)
    assert [item.item for item in items] == ["anatomy/0", "anatomy/1", "high_school_botany/0", "high_school_botany/1"]
    assert items[2].category == "high school botany" and items[1].right == {1} and items[0].question == "What is, say, green?\nAnswer:"
    assert read("mmlu", tmp_path / "test" / "anatomy_test.csv") == items[:2]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": ["x", "y"], "answer": 1}, {1}), ({"choices": ["x", "y"], "answer": "B"}, {1}),
        ({"choices": ["x", "y"], "answer": "y"}, {1}),
        ({"choices": ["x", "y", "z"], "answer": [0, "z"]}, {0, 2}), ({"choices": ["x", "y"], "answer": "1"}, {1}),
        ({"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"}, {0}), ({"choices": ["3", "2"], "answer": "2"}, {1}),
    ],
)  # fmt: skip
def test_choices_name_their_answer_by_text_letter_label_or_place(tmp_path: Path, row: dict[str, object], right: set[int]) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Which?"} | row) + "\n")
    (item,) = read("choices", tmp_path / "q.jsonl")
    assert item.right == right and item.question == "Which?\nAnswer:" and item.cluster == item.item


def test_choices_take_ids_categories_and_clusters_where_they_are_given(tmp_path: Path) -> None:
    rows = [{"question": "Which?", "choices": ["x", "y"], "answer": 0, "id": 7, "category": "c", "cluster": "k"}]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    (item,) = read("choices", tmp_path / "q.json")
    assert (item.item, item.category, item.cluster) == ("7", "c", "k")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("truthfulqa", "Question,Answer\na,b\n", "line 1: the header lacks Category"),
        ("truthfulqa", f"{','.join(HEADER)}\nA,B,Q?,Yes,Yes,Yes,s\n", "line 2: .*two answers or more"),
        ("mmlu", "Q?,a,b,c,d,E\n", "line 1: expected a question, four answers"), ("mmlu", "Q?,a,b,A\n", "line 1: .*found 4 cells"),
        ("mmlu", "Q?,a,,c,d,A\n", "line 1: an answer is empty"), ("mmlu", "", "empty"),
        ("choices", '{"question": "Q?", "choices": ["a", "b"], "answer": 2}\n', "line 1: the answer 2 is none of the 2"),
        ("choices", '{"question": "Q?", "choices": ["a", "b"]}\n', "line 1: the answer None"),
        ("choices", '{"question": "Q?", "choices": "ab", "answer": 0}\n', "line 1: 'choices'"),
        ("choices", '{"choices": ["a", "b"], "answer": 0}\n', "line 1: 'question' is missing"),
        ("choices", '{"question": "Q?", "choices": ["a", "b"], "answer": 0}\n' * 2, "there twice"),
        ("choices", "{\n", "line 1: not JSON"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(name, tmp_path / "file.csv")


def test_questions_are_scored_by_length_normalised_log_probability(tmp_path: Path, tiny_model_dir: Path) -> None:
    """The whole way of `timbre benchmark`: the shares of right answers of the tiny model, and the items they stand on."""
    from timbre.artifacts import ArtifactStore, FileInput
    from timbre.benchmarks.stage import BenchmarkConfig, benchmark_items, score_benchmark
    from timbre.config import ModelConfig
    from timbre.models import resolve_model
    from timbre.progress import SILENT

    rows = [["A", f"c{n % 2}", f"Do {n} old cows fly?", "No", "No; They walk", "Yes they do; At night", "s"] for n in range(6)]
    file = table(tmp_path / "TruthfulQA.csv", [HEADER, *rows])
    store = ArtifactStore(tmp_path / "home", SILENT)
    scored = score_benchmark(
        BenchmarkConfig(benchmark="truthfulqa", limit=4), resolve_model(ModelConfig(name=str(tiny_model_dir)), store), None,
        FileInput(file), store,
    )  # fmt: skip
    found = benchmark_items(scored)
    assert sum(row["metric"] == "correct_by_byte" for row in found) == 4 == scored.json("summary.json")["items"]
    assert {row["category"] for row in found} == {"c0", "c1"}


def test_a_folder_without_mmlu_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="abstract_algebra_test"):
        read("mmlu", tmp_path)
