"""The wheel without extras compares texts; a command that needs more says which, in one sentence."""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.package.installed import Installed

HEAVY = {"torch", "transformers", "prefect", "mlflow", "dvc", "great-expectations", "onnxruntime-gpu", "pandas", "pyarrow", "matplotlib"}


@pytest.fixture
def sides(tmp_path: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Path:
    """Two folders of texts; the sentences of one are those of the other in another order."""
    deal = random.Random(0)
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        for number, (_, text) in enumerate(tiny_corpus_texts):
            sentences = text.split(". ")
            (tmp_path / name / f"{number}.txt").write_text(". ".join(deal.sample(sentences, len(sentences))))
    return tmp_path


def test_text_comparison_needs_no_extra_and_few_packages(base: "Installed", sides: Path) -> None:
    assert HEAVY.isdisjoint(base.packages) and len(base.packages) < 40, base.packages
    done = base.timbre("evaluate", "mine", "--against", "theirs", "--words", "60", "--json", cwd=sides)
    assert done.returncode in (0, 4), done.stderr
    said = json.loads(done.stdout)
    assert len(said["metrics"]) > 15 and Path(sides / said["page"]).stat().st_size > 10_000
    again = base.python("-c", "import timbre; print(timbre.metrics.compare(['a b c '*50]*9, ['d e f '*50]*9, words=20).verdict)", cwd=sides)
    assert again.stdout.strip(), again.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("run", "--style", "literary"), "run"),
        (("stage", "train"), "run"),
        (("up",), "run"),
        (("setup",), "run"),
        (("status",), "run"),
        (("target", "inspect"), "train"),
        (("generate", "It was"), "serve"),
        (("history",), "serve"),
    ],
)
def test_a_command_without_its_extra_names_it_in_one_sentence(
    base: "Installed", tmp_path: Path, words: tuple[str, ...], extra: str
) -> None:
    done = base.timbre(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.endswith(f"pip install 'timbre[{extra}]'\n"), done.stderr
    assert not (tmp_path / ".timbre" / "artifacts").exists(), "nothing was begun"


def test_what_needs_no_extra_works_without(base: "Installed", tmp_path: Path) -> None:
    for words in (("--help",), ("run", "--help"), ("init", "project"), ("--version",)):
        done = base.timbre(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    tune = base.python("-c", "import timbre; timbre.load('models/base')", cwd=tmp_path)
    assert tune.stderr.splitlines()[-1].endswith("pip install 'timbre[train]'"), tune.stderr


def test_a_parquet_file_names_the_extra_that_reads_it(base: "Installed", sides: Path) -> None:
    (sides / "rows.parquet").write_bytes(b"PAR1")
    done = base.timbre("evaluate", "rows.parquet", "--against", "theirs", cwd=sides)
    assert done.returncode == 2 and "'timbre[data]'" in done.stderr and "Traceback" not in done.stderr, done.stderr
