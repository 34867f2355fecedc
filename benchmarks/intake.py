"""What comes of the texts that people bring, and what it costs: python -m benchmarks.intake [--json]

    python -m benchmarks.intake --no-memory          # a minute on a laptop
    python -m benchmarks.intake --small 10 --large 100

cases_tried, cases_right: the generator in tests/intake, and editing (a folder that is added again). html_words_kept and
html_precision: share of prose words that are kept over its HTML cases, and share of kept words that are prose. documents_per_s and
mb_per_s: cleaning, filters and near-duplicates of 5 kB documents on one core, per second of CPU time. memory_ratio: peak memory of a corpus
built from 1 GB of such documents, divided by that from 100 MB; in each a document in a hundred is a near-copy of the first half's.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.intake.case import SENTENCES, faults, result_of
from tests.intake.editing import faults_of_editing
from tests.intake.generator import cases
from timbre.corpus.raw import RawDocument

DOCUMENT_BYTES = 5_000
_COPY_EVERY = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-memory", action="store_true", help="leave out memory_ratio")
    parser.add_argument("--small", type=int, default=100, help="MB of the smaller corpus")
    parser.add_argument("--large", type=int, default=1000, help="MB of the larger corpus")
    parser.add_argument("--speed-mb", type=int, default=4, help="MB of text that speed is measured on")
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.build is not None:
        print(json.dumps(_build(given.build)))
        return
    figures = _cases() | _speed(given.speed_mb)
    if not given.no_memory:
        figures |= _memory(given.small, given.large)
    if given.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


def _cases() -> dict[str, Any]:
    tried, wrong, recall, precision = 0, [], [], []
    for case in cases():
        tried += 1
        if found := faults(case):
            wrong.append(f"{case.kind}: {case.name}: {'; '.join(found)}")
        if case.kind == "html" and case.text is not None:
            result = result_of(case)
            recall.append(result.recall)
            precision.append(result.precision)
    for name, edited in faults_of_editing().items():
        tried += 1
        wrong += [f"editing: {name}: {'; '.join(edited)}"] if edited else []
    return {
        "cases_tried": tried, "cases_right": tried - len(wrong), "cases_wrong": wrong,
        "html_words_kept": round(sum(recall) / len(recall), 4), "html_precision": round(sum(precision) / len(precision), 4),
    }  # fmt: skip


def _documents(megabytes: int) -> Iterator[RawDocument]:
    """5 kB each, all different, but one in a hundred a near-copy of one a half of the corpus earlier."""
    count = megabytes * 1_000_000 // DOCUMENT_BYTES
    for number in range(count):
        copied = number % _COPY_EVERY == 0 and number >= count // 2
        text = _text(number - count // 2 if copied else number)
        yield RawDocument(f"{number:07d}.txt", text + (" And one more sentence stands here." if copied else ""), f"author {number % 50}")


def _text(number: int) -> str:
    draw = random.Random(number)
    vocabulary = " ".join(SENTENCES).replace(".", "").replace(",", "").split()
    paragraphs = []
    size = 0
    while size < DOCUMENT_BYTES:
        sentences = [" ".join(draw.choices(vocabulary, k=draw.randint(6, 18))).capitalize() + "." for _ in range(6)]
        paragraphs.append(" ".join(sentences))
        size += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)


def _speed(megabytes: int) -> dict[str, Any]:
    from tests.intake.case import source_of
    from timbre.config import CorpusConfig
    from timbre.corpus.sifting import sift
    from timbre.corpus.spool import Spool

    documents = list(_documents(megabytes))
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        start = time.process_time()
        sift({"case": documents}, {"case": source_of({})}, CorpusConfig(), spool)
        seconds = time.process_time() - start
        spool.close()
    size = sum(len(document.text) for document in documents) / 1e6
    return {"documents_per_s": round(len(documents) / seconds, 1), "mb_per_s": round(size / seconds, 3)}


def _memory(small: int, large: int) -> dict[str, Any]:
    found = {}
    for megabytes in (small, large):
        command = [sys.executable, "-m", "benchmarks.intake", "--build", str(megabytes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[megabytes] = json.loads(done.stdout.splitlines()[-1])
    return {
        "memory_ratio": round(found[large]["peak_mb"] / found[small]["peak_mb"], 3),
        "memory_peak_mb": {f"{megabytes} MB": row["peak_mb"] for megabytes, row in found.items()},
        "near_duplicates_found": {f"{megabytes} MB": row["found"] for megabytes, row in found.items()},
    }  # fmt: skip


def _build(megabytes: int) -> dict[str, Any]:
    """A corpus of so much text, with its documents and rejected ones written; peak memory, and the share of near-copies that were found."""
    from tests.intake.case import source_of
    from timbre.config import CorpusConfig
    from timbre.corpus.contract import check_contract
    from timbre.corpus.curation import curate
    from timbre.corpus.datasheet import counts
    from timbre.corpus.documents import Document, Rejected, write_rows
    from timbre.settings import settings

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        curated = curate({"case": _documents(megabytes)}, {"case": source_of({})}, CorpusConfig(), split_by_date=False, scratch=place)
        write_rows(curated.documents(), Document, place / "documents.parquet")
        write_rows(curated.rejected(), Rejected, place / "rejected.parquet")
        tally = counts(curated)
        curated.sifted.spool.close()
        check_contract(place / "documents.parquet", settings().file("data/contract/corpus.toml"), place / "docs")
    count = megabytes * 1_000_000 // DOCUMENT_BYTES
    copies = sum(number % _COPY_EVERY == 0 for number in range(count // 2, count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"peak_mb": round(peak, 1), "found": round(tally["rejected"]["near_duplicate"] / max(1, copies), 4), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
