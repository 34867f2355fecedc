"""The pages about a corpus: what a data person reads of it, and Data Docs with the time of their check."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, browser
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import CorpusConfig
from timbre.corpus.data_page import data_page, histogram
from timbre.corpus.docs_shown import shown_docs
from timbre.progress import SILENT

DOCS = (
    '<html><head><title>x</title><link rel="shortcut icon" href="./static/images/favicon.ico" type="image/x-icon"/>'
    "<style>body { color: red }</style></head><body>"
    '<h1 class=\\"container-fluid\\">Corpus</h1><p>Data asset: None</p><p>Run Time</p><p>at each build</p></body></html>'
)


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    """Twenty documents, five rejected for two reasons, some of whose words look like markup."""
    import pyarrow as pa
    from pyarrow import parquet

    kept = [
        {"doc_id": f"d{n}", "text": f"The <harbour> lay quiet, {n}. " * (n + 3), "author": f"a{n % 3}", "date": "1901", "source": "sea",
         "licence": "CC0-1.0", "consent": "public domain", "style": "sea", "split": "train" if n < 15 else "test", "fold": 0,
         "n_tokens": 8 * (n + 3)}
        for n in range(20)
    ]  # fmt: skip
    reasons = ["too_short"] * 4 + ["near_duplicate"]
    gone = [{"doc_id": f"r{n}", "text": f"Gone {n}", "author": "a", "source": "sea", "reason": reason, "detail": f"because {n}"}
            for n, reason in enumerate(reasons)]  # fmt: skip
    files: dict[str, Any] = {
        "counts.json": {
            "read": 25, "kept": 20, "rejected": {"too_short": 4, "near_duplicate": 1, "empty": 0}, "split_rule": "author",
            "by_source": {"sea": {"read": 25, "kept": 20, "rejected": 5}}, "notes": ["one note"],
            "splits": {"train": {"documents": 15, "tokens": 1200}, "test": {"documents": 5, "tokens": 800}},
        },
        "datasheet.json": {
            "documents": 20, "tokens": 2000, "licences": ["CC0-1.0"], "research_only": False, "personal_data_replaced": {"email": 2},
            "sources": {"sea": {"description": "Of the sea.", "licence": "CC0-1.0", "consent": "public domain", "language": "en"}},
            "authors": [{"author": "a0", "share": 0.4, "tokens": 800}], "dates": {"first": "1901", "last": "1901", "undated": 0},
            "repeated_lines": {"sea": [{"line": "Page of the sea", "share": 0.5, "documents": 10}]},
        },
        "contract.json": {"success": True, "expectations": 20, "rows": 20},
    }  # fmt: skip

    def build(_: CorpusConfig, __: Mapping[str, Input], work: Workspace) -> None:
        for name, content in files.items():
            (work.output / name).write_text(json.dumps(content))
        parquet.write_table(pa.Table.from_pylist(kept), work.output / "documents.parquet")
        parquet.write_table(pa.Table.from_pylist(gone), work.output / "rejected.parquet")
        (work.output / "data_docs" / "static").mkdir(parents=True)
        (work.output / "data_docs" / "index.html").write_text(DOCS)
        (work.output / "data_docs" / "static" / "logo.svg").write_text("<svg/>")

    return ArtifactStore(tmp_path, SILENT).build(Stage("corpus", 1, build), CorpusConfig(style="sea"), {})


def test_the_data_page_says_what_is_in_what_is_out_and_shows_both(corpus: Artifact) -> None:
    page = data_page(corpus, at="27 November 2026, 18:05 UTC", docs="data_docs/index.html")
    for said in (
        "20 documents, 2,000 words", "contract holds", "checked 27 November 2026, 18:05 UTC", "<dd>1 left out</dd>", "<dd>0 left out</dd>",
        "one note", "CC0-1.0", "public domain", "email 2", "<dt>date</dt><dd>1901</dd>",
        "Page of the sea",
    ):  # fmt: skip
        assert said in page, said
    assert page.index("too short: 4 documents, 16%") < page.index("near duplicate: 1 document, 4%"), "most first"
    assert [f"r{n}" in page for n in range(5)] == [True, False, True, True, True], "the first, middle and last of a reason"
    passages = page[page.index("Ten passages") :]
    assert passages.count("<article") == 10 and "&lt;harbour&gt;" in passages and "<harbour>" not in page
    assert 'href="data_docs/index.html"' in page and not re.search(r"<(script|link|img)", page)
    assert 'href="' not in data_page(corpus), "no link to a page that is not there"


def test_every_document_stands_in_one_bin_of_the_histogram() -> None:
    for lengths in ([5], [7, 7, 7], list(range(1, 400)), [10, 100_000]):
        drawn = histogram(lengths)
        assert drawn is not None and sum(count for *_, count in drawn["rows"]) == len(lengths)
    assert histogram([]) is None


def test_data_docs_are_shown_with_the_time_of_the_check_and_the_assets_name(corpus: Artifact, tmp_path: Path) -> None:
    index = shown_docs(corpus, tmp_path / "shown", "27 November 2026, 18:05 UTC")
    page = index.read_text()
    assert "Data asset: sea, documents" in page and "27 November 2026, 18:05 UTC" in page and "at each build" not in page
    assert "color: red" not in page and "prefers-color-scheme: dark" in page and '<h1 class="container-fluid">' in page
    assert (tmp_path / "shown" / "static" / "logo.svg").exists() and "favicon" not in page, "an icon that is not there would be asked for"
    assert (corpus.path / "data_docs" / "index.html").read_text() == DOCS, "what is stored and hashed stays as it is"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")
def test_the_data_page_fits_a_telephone(corpus: Artifact, tmp_path: Path) -> None:
    (tmp_path / "data.html").write_text(data_page(corpus))
    with browser(tmp_path / "profile", tmp_path / "downloads") as page:
        for width, scheme in ((400, "dark"), (1280, "light")):
            page.size(width, 800, scheme)
            page.open(tmp_path / "data.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.errors == [] and len(page.requested) <= 3
