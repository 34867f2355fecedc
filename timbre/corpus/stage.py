"""The corpus stage: sources in; documents, what was rejected, counts, contract, Data Docs and datasheet out.

    store = ArtifactStore(settings().home)
    corpus = build_corpus(CorpusConfig(style="literary"), store)

The key needs the catalogue only (`corpus_inputs`); nothing is downloaded or imported to find a corpus that was built.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import CorpusConfig
from timbre.corpus.sources import SourceInput, StyleInput, corpus_inputs

__all__ = ["STAGE", "build_corpus", "corpus_inputs"]


def build_corpus(config: CorpusConfig, store: ArtifactStore) -> Artifact:
    """The corpus of a style: found, or built once.

    Raises:
        ValueError: unknown style or source, sources that cannot be had or read, too little text, or a broken contract.
        IntegrityError: a source's bytes are not those declared.
    """
    return store.build(STAGE, config, corpus_inputs(config))


def _build(config: CorpusConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.corpus.contract import check_contract
    from timbre.corpus.curation import curate
    from timbre.corpus.datasheet import counts, datasheet
    from timbre.corpus.documents import Document, Rejected, write_rows
    from timbre.corpus.loading import raw_documents

    style, contract = inputs["style"], inputs["contract"]
    assert isinstance(style, StyleInput) and not isinstance(contract, Artifact)
    given = [value for name, value in inputs.items() if name.startswith("source:") and isinstance(value, SourceInput)]
    sources = {entry.source.name: entry.source for entry in given}
    if restricted := [name for name, source in sources.items() if source.research_only]:
        warnings.warn(f"for research use only: {', '.join(restricted)}; do not serve a model made from them to the public", stacklevel=2)
    raw = {entry.source.name: raw_documents(entry, workspace.scratch) for entry in given}
    curated = curate(
        raw, sources, config, split_by_date=style.style.split_by_date, track=workspace.progress.track, scratch=workspace.scratch,
    )  # fmt: skip
    write_rows(curated.documents(), Document, workspace.output / "documents.parquet")
    write_rows(curated.rejected(), Rejected, workspace.output / "rejected.parquet")
    _write_json(workspace.output / "counts.json", counts(curated))
    _write_json(workspace.output / "datasheet.json", datasheet(curated, sources, config))
    curated.sifted.spool.close()
    report = check_contract(workspace.output / "documents.parquet", contract.path, workspace.output / "data_docs", config.style)
    _write_json(workspace.output / "contract.json", report)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


STAGE: Stage[CorpusConfig] = Stage("corpus", 11, _build)
