"""The data contract: a Great Expectations suite made from `data/contract/corpus.toml`, run, and shown as Data Docs.

Great Expectations passes an empty suite, an empty frame and a column of nulls; so beside it stand checks of our own:
rows, expectations, the share of values that are not null, and that the suite that ran is the one in the file.
"""

import logging
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timbre.artifacts import canonical_json, digest_json
from timbre.corpus.data_docs import settle
from timbre.corpus.witness import read_frame

_REQUIRED = ("doc_id", "text", "author", "source", "licence", "consent", "style", "split", "fold", "n_tokens")
_RUN_TIME = "2000-01-01T00:00:00+00:00"
_EXAMPLES = 3


def check_contract(documents: Path, contract: Path, data_docs: Path, style: str = "corpus") -> dict[str, Any]:
    """Run the contract on documents.parquet and write Data Docs titled by the style; the same documents give the same files.

    Returns:
        What was expected and found: digests, rows, and each expectation's result.

    Raises:
        ValueError: the contract is empty or unreadable, or an expectation does not hold; the sentence says which, with
            example rows.
    """
    expected = load_contract(contract)
    frame = read_frame(documents, expected)
    outcome = _validate(frame, expected, data_docs, style)
    report = {
        "contract_digest": suite_digest(expected),
        "suite_digest": suite_digest(outcome),
        "rows": len(frame),
        "expectations": len(outcome),
        "not_null_share": {name: round(float(frame[name].notna().mean()), 6) if len(frame) else 0.0 for name in frame.columns},
        "results": outcome,
        "success": all(result["success"] for result in outcome),
    }
    _require(report)
    return report


def find_breaches(documents: Path, expected: Sequence[dict[str, Any]], data_docs: Path, style: str = "corpus") -> list[dict[str, Any]]:
    """Run expectations on documents.parquet and write Data Docs; nothing is raised.

    Returns:
        Each expectation's result as `check_contract` has it, with `documents`: the doc_ids of the rows that break it.
    """
    return _validate(read_frame(documents, expected), list(expected), data_docs, style, every=True)


def load_contract(path: Path) -> list[dict[str, Any]]:
    """The expectations of a contract file: [{"type", "kwargs"}], in order.

    Raises:
        ValueError: not TOML, or no expectation in it.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("expectation", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not a readable contract ({error})") from error
    if not entries or any("type" not in entry for entry in entries):
        raise ValueError(f"{path}: a contract needs at least one [[expectation]], each with a type")
    return [{"type": entry["type"], "kwargs": {key: value for key, value in entry.items() if key != "type"}} for entry in entries]


def suite_digest(expectations: list[dict[str, Any]]) -> str:
    """Identity of a set of expectations, whatever their order: of a contract file, or of what was really run."""

    def plain(value: Any) -> Any:  # Great Expectations reads 1 as 1.0
        return int(value) if isinstance(value, float) and value.is_integer() else value

    parts = [{"type": entry["type"], "kwargs": {key: plain(value) for key, value in entry["kwargs"].items()}} for entry in expectations]
    return digest_json(sorted(parts, key=canonical_json))


def _validate(frame: Any, expected: list[dict[str, Any]], data_docs: Path, style: str, *, every: bool = False) -> list[dict[str, Any]]:
    import os

    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas(style).add_dataframe_asset("documents")
    batch = asset.add_batch_definition_whole_dataframe("whole")
    suite = gx.ExpectationSuite(
        name="corpus", expectations=[ExpectationConfiguration(type=entry["type"], kwargs=entry["kwargs"]) for entry in expected]
    )
    suite = context.suites.add(suite)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="corpus", data=batch, suite=suite))
    told: dict[str, Any] = {"result_format": "SUMMARY"}
    if every:
        told = {"result_format": "COMPLETE", "unexpected_index_column_names": ["doc_id"]}
    checkpoint = context.checkpoints.add(gx.Checkpoint(name="corpus", validation_definitions=[definition], result_format=told))
    with tempfile.TemporaryDirectory() as temporary:
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": temporary}
        site = {"class_name": "SiteBuilder", "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}, "store_backend": backend}
        context.add_data_docs_site(site_name="corpus", site_config=site)  # type: ignore[arg-type]
        run = checkpoint.run(
            batch_parameters={"dataframe": frame},
            run_id=RunIdentifier(run_name=style, run_time=_RUN_TIME),
        )
        context.build_data_docs(site_names=["corpus"])
        settle(Path(temporary), data_docs, style)
    (result,) = run.run_results.values()
    return sorted((_told(item.to_json_dict(), every=every) for item in result.results), key=canonical_json)


def _told(result: dict[str, Any], *, every: bool) -> dict[str, Any]:
    """The part of a validation result that is the same on every run."""
    config, found = result["expectation_config"], result["result"]
    kwargs = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
    error = result["exception_info"].get("exception_message") if result["exception_info"].get("raised_exception") else None
    documents = {"documents": [str(row["doc_id"]) for row in found.get("unexpected_index_list") or ()]} if every else {}
    return documents | {
        "type": config["type"], "kwargs": kwargs, "success": bool(result["success"]), "observed": found.get("observed_value"),
        "unexpected_count": found.get("unexpected_count", 0), "missing_count": found.get("missing_count", 0),
        "examples": [str(example)[:200] for example in found.get("partial_unexpected_list", [])[:_EXAMPLES]], "error": error,
    }  # fmt: skip


def _require(report: dict[str, Any]) -> None:
    if report["rows"] == 0:
        raise ValueError("the data contract does not hold: the corpus has no rows")
    if report["expectations"] < 1:
        raise ValueError("the data contract does not hold: it was loaded, yet nothing was expected; check data/contract/corpus.toml")
    if report["suite_digest"] != report["contract_digest"]:
        raise ValueError("the data contract does not hold: the suite that ran is not the one in the contract file; run it again")
    for name in _REQUIRED:
        if report["not_null_share"].get(name, 0.0) < 1.0:
            raise ValueError(f"the data contract does not hold: column {name!r} is missing or has nulls")
    for result in report["results"]:
        if not result["success"]:
            column = result["kwargs"].get("column", "the table")
            raise ValueError(
                f"the data contract does not hold: {result['type']} on {column} fails for {result['unexpected_count']} rows, such as "
                f"{'; '.join(result['examples']) or result['observed'] or result['error']}"
            )
