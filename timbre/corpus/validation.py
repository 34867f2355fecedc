"""What a hand-in is held to, rule by rule and document by document, before anything is changed.

    validated = validate(style, sources, contract, folder)
    validated.findings[0].fix          'write it anew as UTF-8 text, or take it out'

Reading and cleaning leave documents out, each for a reason; the limits say how many may be. What is kept is held to the
expectations of the contract, shown as Data Docs.
"""

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.config import CorpusConfig, Frozen
from timbre.corpus.consent import NOT_RECORDED, is_recorded
from timbre.corpus.contract import find_breaches
from timbre.corpus.contract_versions import ALL, Contract, rule_name
from timbre.corpus.curation import deal
from timbre.corpus.documents import Document, Reason, write_rows
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.sifting import Sifted, Track, _silent, sift
from timbre.corpus.sources import Source
from timbre.corpus.spool import Spool

_SHOWN = 160
_FIXES = {
    Reason.UNREADABLE: "save it anew in a form that can be read (UTF-8 text, for example), or take it out",
    Reason.EMPTY: "put its text in, or take it out",
    Reason.TOO_SHORT: "hand in the whole text, or put several that belong together into one document",
    Reason.NOT_PROSE: "take it out: tables, code and lists of figures are no prose",
    Reason.LANGUAGE: "take it out, or say --language with the language that is meant",
    Reason.DUPLICATE: "take out one of the two",
    Reason.NEAR_DUPLICATE: "take out one of the two",
    Reason.NOT_DRAWN: "nothing: corpus.max_documents keeps a part",
}


class Finding(Frozen):
    """One thing to fix: which rule, in which document (empty: the hand-in as a whole), what was found, what to do."""

    rule: str
    document: str
    found: str
    fix: str


class RuleResult(Frozen):
    """A rule and what came of it."""

    rule: str
    success: bool
    failed: int
    """Documents that break it; 0 where the hand-in as a whole does."""


class Validated(Frozen):
    """What a validation found."""

    read: int
    kept: int
    rejected: dict[str, int]
    rules: tuple[RuleResult, ...]
    findings: tuple[Finding, ...]
    left_out: tuple[Finding, ...] = ()
    """Documents that were left out within the limits, and why: to look at, not to fix."""

    @property
    def success(self) -> bool:
        return all(rule.success for rule in self.rules)


@dataclass(frozen=True)
class SourceDocuments:
    """A source of the style and its documents."""

    source: Source
    documents: Iterable[RawDocument | Unread]


def validate(
    config: CorpusConfig, datasets: Mapping[str, SourceDocuments], contract: Contract, folder: Path, *, split_by_date: bool = False,
    track: Track = _silent,
) -> Validated:  # fmt: skip
    """Hold the corpus that these sources make to the contract; write Data Docs to `folder`. Changes nothing else."""
    sources = {name: dataset.source for name, dataset in datasets.items()}
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say stands among the findings
        spool = Spool(Path(scratch))
        try:
            raw = {name: dataset.documents for name, dataset in datasets.items()}
            sifted = sift(raw, sources, config, spool, track=track)
            rules, findings, left_out = _limits(sifted, contract.rules.limits)
            documents = Path(scratch) / "documents.parquet"
            problem = _write(sifted, sources, config, documents, split_by_date=split_by_date)
            kept = int(spool.one("SELECT COUNT(*) FROM draft WHERE reason IS NULL"))
            rejected = dict(spool.counts("SELECT reason, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY reason"))
            read = sifted.read.total()
        finally:
            spool.close()
        rules.append(RuleResult(rule="enough to split", success=not problem, failed=0))
        if problem:
            findings.append(Finding(rule="enough to split", document="", found=problem, fix="hand in more documents that are kept"))
        else:
            breaches = find_breaches(documents, contract.rules.expectations, folder, config.style)
            for breach in breaches:
                rules.append(RuleResult(rule=rule_name(breach), success=breach["success"], failed=len(breach["documents"])))
                findings += _breached(breach)
    if contract.rules.consent_required:
        unasked = [name for name, source in sources.items() if not is_recorded(source.consent, source.licence)]
        rules.append(RuleResult(rule="consent is recorded", success=not unasked, failed=0))
        findings += [_unasked(name, sources[name]) for name in unasked]
    return Validated(
        read=read, kept=kept, rejected=rejected, rules=tuple(rules), findings=tuple(findings), left_out=tuple(left_out)
    )  # fmt: skip


def of_no_text(unread: Iterable[tuple[str, str]], sentence: str) -> Validated:
    """What a hand-in of which nothing could be read comes to."""
    rule = _limit_rule(Reason.UNREADABLE.value, 0.0)
    found = tuple(Finding(rule=rule, document=_short(name), found=reason, fix=_FIXES[Reason.UNREADABLE]) for name, reason in unread) or (
        Finding(rule=rule, document="", found=sentence, fix="hand in files that hold text"),
    )
    result = RuleResult(rule=rule, success=False, failed=len(found))
    return Validated(read=len(found), kept=0, rejected={Reason.UNREADABLE.value: len(found)}, rules=(result,), findings=found)


def _write(sifted: Sifted, sources: Mapping[str, Source], config: CorpusConfig, path: Path, *, split_by_date: bool) -> str:
    """The corpus as it would be built; why it cannot be, if so."""
    try:
        curated = deal(sifted, sources, config, split_by_date=split_by_date)
    except ValueError as error:
        return str(error)
    write_rows(curated.documents(), Document, path)
    return ""


def _limits(sifted: Sifted, limits: Mapping[str, float]) -> tuple[list[RuleResult], list[Finding], list[Finding]]:
    """Rules on what was left out; findings of those that are broken, and of the others."""
    read = max(1, sifted.read.total())
    gone: dict[str, list[tuple[str, str]]] = {}
    for _, name, reason, detail in sifted.spool.drafts("doc_id, reason, detail", "reason IS NOT NULL"):
        gone.setdefault(reason, []).append((name, detail or ""))
    rules: list[RuleResult] = []
    findings: list[Finding] = []
    left_out: list[Finding] = []
    too_many = sum(map(len, gone.values())) > limits.get(ALL, 1.0) * read
    for reason in sorted({*limits, *gone} - {ALL}):
        found, limit = gone.get(reason, []), limits.get(reason, 1.0)
        broken = len(found) > limit * read
        rule = _limit_rule(reason, limit)
        if reason in limits:
            rules.append(RuleResult(rule=rule, success=not broken, failed=len(found) if broken else 0))
        rows = [
            Finding(rule=rule, document=_short(name), found=detail or reason.replace("_", " "), fix=_FIXES[Reason(reason)])
            for name, detail in found
        ]
        (findings if broken or too_many else left_out).extend(rows)
    if ALL in limits:
        rule, count = _limit_rule(ALL, limits[ALL]), sum(map(len, gone.values()))
        rules.append(RuleResult(rule=rule, success=not too_many, failed=count if too_many else 0))
        if too_many:
            said = f"{count} of {read} documents are left out"
            findings.append(Finding(rule=rule, document="", found=said, fix="mend or take out the documents that are named"))
    return rules, findings, left_out


def _limit_rule(reason: str, limit: float) -> str:
    what = "left out" if reason == ALL else reason.replace("_", " ")
    return f"no document {what}" if limit == 0 else f"at most {limit:.0%} of the documents {what}"


def _breached(breach: dict[str, Any]) -> list[Finding]:
    """A finding for each document that breaks an expectation; one without a document where the table does."""
    if breach["success"]:
        return []
    rule, fix = rule_name(breach), _fix(breach)
    names = dict.fromkeys(breach["documents"])
    if not names:
        seen = breach["observed"] if breach["observed"] is not None else "; ".join(breach["examples"]) or breach["error"] or "it fails"
        return [Finding(rule=rule, document="", found=str(seen)[:_SHOWN], fix=fix)]
    column = breach["kwargs"].get("column", "")
    examples = breach["examples"]
    found = [f"{column} is {examples[place][:_SHOWN]!r}" if place < len(examples) else f"{column} breaks it" for place in range(len(names))]
    return [Finding(rule=rule, document=_short(name), found=said, fix=fix) for name, said in zip(names, found, strict=True)]


def _fix(breach: dict[str, Any]) -> str:
    kind, terms = breach["type"], breach["kwargs"]
    column = terms.get("column", "")
    if "row_count" in kind:
        bounds = [f"{word} {terms[name]:g}" for word, name in (("at least", "min_value"), ("at most", "max_value")) if terms.get(name)]
        return f"hand in {' and '.join(bounds)} documents that are kept"
    if "not_match_regex" in kind:
        return f"take out of the {column} what matches {terms['regex']}, or take the document out"
    if "match_regex" in kind:
        return f"write the {column} so that it matches {terms['regex']}"
    if "unique" in kind and "count" not in kind:
        return f"take out all but one of the documents with this {column}"
    if "null" in kind or ("length" in kind and column != "text"):
        return f"say the {column} of each document: a column of the rows, or --{column}"
    return f"change the {column or 'documents'} so that this holds, or take the document out"


def _unasked(name: str, source: Source) -> Finding:
    said = source.consent if source.consent != NOT_RECORDED else f"{source.licence} alone says nothing of it"
    return Finding(
        rule="consent is recorded", document="", found=f"source {name}: {said}",
        fix="ask the author whether their manner may be learnt, and say with --consent how that is known",
    )  # fmt: skip


def _short(doc_id: str) -> str:
    return doc_id.partition(":")[2] or doc_id
