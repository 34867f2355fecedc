"""Readers of public question files that a user points to: TruthfulQA, MMLU and multiple choice in general.

Nothing is shipped and nothing is fetched. The forms are those the sets are spread in; each question becomes a `Choice`
whose answers are compared by log-probability, divided by their length (the scorer's matter, not the reader's).
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timbre.benchmarks.items import Choice, Item, unique
from timbre.tabular import Spot, field, objects_of, table_of, text_of

_LETTERS = "ABCDEFGHIJ"


def truthfulqa(path: Path) -> list[Item]:
    """TruthfulQA.csv (Lin et al. 2022): all true answers are right, the best one first.

    An item is named by its question, so that it keeps its name when rows are added; the questions do not depend on each
    other, so each is its own cluster.

    Raises:
        ValueError: not such a file; the sentence names file and line.
    """
    items: list[Item] = []
    for spot, row in table_of(path, ("Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers")):
        true = _distinct([row["Best Answer"], *_listed(row["Correct Answers"])])
        false = _distinct([*true, *_listed(row["Incorrect Answers"])])[len(true) :]
        items.append(_choice(_name(row["Question"]), row["Category"], f"Q: {row['Question']}\nA:", [*true, *false], range(len(true)), spot))
    return unique(items, path)


def mmlu(path: Path) -> list[Item]:
    """A file `SUBJECT_test.csv` of MMLU (Hendrycks et al. 2021), or a folder of them: question, four answers, letter; no header.

    In a folder that holds the whole set, only the files of `test/` are read, or those that end in `_test.csv`.

    Raises:
        ValueError: no such file or folder, or a row that is not six cells ending in A, B, C or D.
    """
    items: list[Item] = []
    for file in _mmlu_files(path):
        subject = file.stem.removesuffix("_test").removesuffix("_val").removesuffix("_dev")
        for number, (spot, cells) in enumerate(_cells(file)):
            if len(cells) != 6 or cells[5].strip().upper() not in tuple(_LETTERS[:4]):
                raise spot.wrong(
                    f"expected a question, four answers and one of A, B, C, D; found {len(cells)} cells ending in {cells[-1]!r}"
                )
            right = _LETTERS.index(cells[5].strip().upper())
            question = f"{cells[0].strip()}\nAnswer:"
            items.append(
                _choice(f"{subject}/{number}", subject.replace("_", " "), question, [c.strip() for c in cells[1:5]], [right], spot)
            )
    return unique(items, path)


def choices(path: Path) -> list[Item]:
    """Multiple choice in JSON: {"question", "choices": [...], "answer"} a line, or a list of such objects.

    `answer` is the place of the right answer counted from 0, its letter, its text, or a list of these. "id", "category" and
    "cluster" may be given; without them items are named by their question, and each is its own cluster. `choices` may
    also be the {"text": [...], "label": [...]} and `answerKey` of ARC and OpenBookQA.

    Raises:
        ValueError: a field is missing or of another kind, or an answer is not among the choices; with file and line.
    """
    items: list[Item] = []
    for spot, row in objects_of(path):
        question = field(row, "question", str, spot).strip()
        texts, labels = _offered(row, spot)
        given = row.get("answer", row.get("answerKey"))
        right = {_place(one, texts, labels, spot) for one in (given if isinstance(given, list) else [given])}
        name = str(row["id"]) if row.get("id") not in (None, "") else _name(question)
        items.append(
            _choice(
                name, str(row.get("category") or ""), f"{question}\nAnswer:", texts, sorted(right), spot, str(row.get("cluster") or name)
            )
        )
    return unique(items, path)


def _choice(
    name: str, category: str, question: str, answers: list[str], right: "range | list[int]", spot: Spot, cluster: str = ""
) -> Choice:
    if any(not answer for answer in answers):
        raise spot.wrong("an answer is empty")
    try:
        return Choice(name, cluster or name, category, question, tuple(answers), frozenset(right))
    except ValueError as error:
        raise spot.wrong(str(error)) from error


def _offered(row: dict[str, Any], spot: Spot) -> tuple[list[str], list[str]]:
    offered: Any = row.get("choices")
    labels: list[Any] = list(_LETTERS)
    if isinstance(offered, dict):
        offered, labels = offered.get("text"), offered.get("label", labels)
    if not isinstance(offered, list) or not all(isinstance(one, str) for one in offered) or not isinstance(labels, list):
        raise spot.wrong("'choices' must be a list of texts")
    return [one.strip() for one in offered], [str(label) for label in labels]


def _place(given: Any, texts: list[str], labels: list[str], spot: Spot) -> int:
    """Which choice an answer names: a text among the choices first, then a label, then a place."""
    if isinstance(given, str):
        if given.strip() in texts:
            return texts.index(given.strip())
        if given.strip() in labels[: len(texts)]:
            return labels.index(given.strip())
        given = int(given) if given.strip().isdigit() else given
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(texts):
        return given
    raise spot.wrong(f"the answer {given!r} is none of the {len(texts)} choices")


def _listed(cell: str) -> list[str]:
    return [answer.strip() for answer in cell.split(";") if answer.strip()]


def _distinct(answers: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    for answer in answers:
        kept.setdefault(answer.lower().rstrip("."), answer)
    return list(kept.values())


def _name(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def _mmlu_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    folder = path / "test" if (path / "test").is_dir() else path
    files = sorted(folder.glob("*_test.csv")) or sorted(folder.glob("*.csv"))
    if not files:
        raise ValueError(f"{path} holds no file such as abstract_algebra_test.csv: name a file of MMLU, or the folder they are in")
    return files


def _cells(file: Path) -> Iterator[tuple[Spot, list[str]]]:
    reader = csv.reader(io.StringIO(text_of(file), newline=""))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Spot(file, reader.line_num), cells
    except csv.Error as error:
        raise Spot(file, reader.line_num).wrong(f"not a table ({error})") from error
