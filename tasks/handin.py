"""A hand-in from beginning to end: validated, put on the shelf, versioned, recorded; or refused, and nothing changed.

    done = hand_in(Request(path, "essays", "A. Writer", "CC-BY-4.0", consent="by letter"), by="Data team")

Loads no model and no Prefect.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from timbre.artifacts import IntegrityError
from timbre.config import CorpusConfig, release_config
from timbre.corpus.adding import Examined, NoText, Request, examine, register
from timbre.corpus.consent import ground_of
from timbre.corpus.contract_versions import Contract, breaking, read_contract, require_migration
from timbre.corpus.handins import HandIn, Outcome, Terms, folder_of, in_order, keep, kept, new_id
from timbre.corpus.loading import raw_documents
from timbre.corpus.shelf import as_it_stood
from timbre.corpus.sources import Source, SourceInput, find_source, find_style, style_paths
from timbre.corpus.validation import SourceDocuments, Validated, of_no_text, validate
from timbre.settings import settings
from timbre.tasks.context import open_store
from timbre.tasks.stores.dvc import DataRegistry


class NotSent(ValueError):
    """The hand-in is accepted, committed and tagged here, and has not reached the remotes yet."""


def hand_in(request: Request | None, style: str, by: str, *, dry_run: bool = False) -> HandIn:
    """Hold a hand-in to the contract; version it if it passes. A refused one leaves shelf and registry as they were.

    Args:
        request: files for a source of the style; None: the style as it stands.
        by: who hands it in.
        dry_run: validate only; nothing is kept.

    Raises:
        ValueError: something is missing, the contract was changed without a version or breaks something without a migration,
            or the registry cannot be made or reached.
        NotSent: the remotes cannot be reached.
        IntegrityError: a stored file was changed.
    """
    from filelock import FileLock

    if not by.strip():
        raise ValueError("who hands this in is missing: say --by with a person or a team")
    home = settings().home
    home.mkdir(parents=True, exist_ok=True)
    contract, registry = read_contract(settings()), DataRegistry.open(settings())
    with FileLock(home / "handin.lock"):
        again = _changed_contract(contract, registry)
        at = datetime.now(UTC)
        name = new_id(home, style, at)
        examined, validated, terms = _validated(request, style, contract, folder_of(home, name) / "data_docs", dry_run=dry_run)
        record = HandIn(
            id=name, at=at, style=style, outcome="accepted" if validated.success else "refused", by=by.strip(), terms=terms,
            contract=contract.version.number, rules_in_force=contract.rules, read=validated.read, kept=validated.kept,
            rejected=validated.rejected, rules=validated.rules, findings=validated.findings, to_hand_in_again=again,
        )  # fmt: skip
        if dry_run:
            return record
        if validated.success:
            record = _versioned(record, examined, registry)
        keep(home, record)
        if record.outcome == "accepted" and not registry.is_current("corpus", style, record.digest):
            raise NotSent(
                f"{record.revision} is accepted, committed and tagged here, but could not be sent to {settings().remote_url}: check "
                "TIMBRE_DATA_REMOTE and what is behind it, then hand in again"
            )
    return record


def validations(style: str = "") -> list[HandIn]:
    """Every validation of this home and every hand-in that the registry has, oldest first, of a style or of all."""
    registry = settings().registry_path.absolute()
    notes: list[HandIn] = []
    revisions: dict[tuple[str, str], str] = {}
    if (registry / ".git").exists():
        opened = DataRegistry.open(settings())
        notes = in_order(opened.notes())
        revisions = {(version.style, version.digest): version.tag for version in opened.history() if version.stage == "corpus"}
    known = {record.id: record for record in notes} | {record.id: record for record in kept(settings().home)}
    found = [
        record.model_copy(update={"revision": record.revision or revisions.get((record.style, record.digest), "")})
        for record in known.values()
        if style in ("", record.style)
    ]
    return sorted(found, key=lambda record: (record.at, record.id))


def _changed_contract(contract: Contract, registry: DataRegistry) -> tuple[str, ...]:
    """Refuse a contract that breaks the last one without a migration; with one, the styles whose corpus does not hold it.

    Raises:
        ValueError: as `require_migration`.
    """
    notes = in_order(registry.notes())
    if not notes:
        return ()
    last = max(notes, key=lambda record: (record.contract, record.at))
    require_migration(last.rules_in_force, last.contract, contract)
    if not breaking(last.rules_in_force, contract.rules):
        return ()
    newest = {version.style: version.digest for version in registry.history() if version.stage == "corpus"}
    return tuple(sorted(style for style, digest in newest.items() if not _holds(style, digest, contract)))


def _holds(style: str, digest: str, contract: Contract) -> bool:
    """Whether a corpus holds the contract; one that is not in this home, or damaged, is not known to."""
    import tempfile

    from timbre.corpus.contract import find_breaches

    try:
        documents = open_store().open("corpus", digest).file("documents.parquet")
    except (ValueError, IntegrityError):
        return False
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch:
        return all(result["success"] for result in find_breaches(documents, contract.rules.expectations, Path(scratch), style))


def _validated(
    request: Request | None, style: str, contract: Contract, folder: Path, *, dry_run: bool
) -> tuple[Examined | None, Validated, tuple[Terms, ...]]:
    """What validation found, and on what terms the sources are used that it looked at."""
    import tempfile

    config, examined = release_config(style).corpus, None
    if request is not None:
        try:
            examined = examine(request)
        except NoText as error:
            unread = Terms(
                source=request.name or request.path.name, author=request.author, licence=request.licence,
                consent=request.consent or ground_of(request.licence),
            )  # fmt: skip
            return None, of_no_text(error.unread, str(error)), (unread,)
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch:
        datasets, by_date = _datasets(config, examined, Path(scratch))
        place = Path(scratch) / "data_docs" if dry_run else folder
        validated = validate(config, datasets, contract, place, split_by_date=by_date)
    return examined, validated, _terms({name: dataset.source for name, dataset in datasets.items()})


def _datasets(config: CorpusConfig, examined: Examined | None, scratch: Path) -> tuple[dict[str, SourceDocuments], bool]:
    """The sources of the style as they will be, in order, with the new one in its place; and whether the style splits by date."""
    style = config.style
    names: tuple[str, ...] = ()
    by_date = False
    if examined is None or style in style_paths():
        preset = find_style(style)[1]
        names, by_date = preset.sources, preset.split_by_date
    fresh = examined.source.name if examined is not None else ""
    found: dict[str, SourceDocuments] = {}
    for name in dict.fromkeys([*names, *([fresh] if fresh else [])]):
        if examined is not None and name == fresh:
            found[name] = SourceDocuments(examined.source, examined.documents())
        else:
            path, source = find_source(name)
            found[name] = SourceDocuments(source, raw_documents(SourceInput(path, source), scratch))
    return found, by_date


def _versioned(record: HandIn, examined: Examined | None, registry: DataRegistry) -> HandIn:
    """Register and build; if that fails before there is a version, the shelf is put back."""
    style, home = record.style, settings().home
    before = {version.digest for version in registry.history(style) if version.stage == "corpus"}

    def note(digest: str) -> bytes:
        return (record.model_copy(update={"digest": digest}).model_dump_json(indent=2) + "\n").encode()

    digest = ""
    with as_it_stood(home, examined.source.name if examined is not None else "", style) as shelf:
        if examined is not None:
            register(examined, home)
        try:
            digest = registry.build("corpus", release_config(style).corpus, note=note).digest
        except ValueError:
            made = [version.digest for version in registry.history(style) if version.stage == "corpus"]
            if not (digest := next((each for each in made if each not in before), "")):
                raise
        shelf.stay()
    outcome: Outcome = "unchanged" if digest in before else "accepted"
    revision = registry.find_tag("corpus", style, digest) or ""
    return record.model_copy(update={"outcome": outcome, "digest": digest, "revision": revision})


def _terms(sources: Mapping[str, Source]) -> tuple[Terms, ...]:
    return tuple(
        Terms(source=name, author=source.author, licence=source.licence, consent=source.consent) for name, source in sources.items()
    )
