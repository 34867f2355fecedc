"""`timbre handin` and `timbre handout`: what the data team brings to the data registry, and what another team takes from it."""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timbre.cli.errors import INPUT
from timbre.cli.options import Json, Style

if TYPE_CHECKING:
    from timbre.corpus.handins import HandIn
    from timbre.corpus.validation import Finding

_SHOWN, _WIDTH = 20, 100


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("handin")(handin)
    app.command("handout")(handout)


def handin(
    path: Annotated[
        Path | None, typer.Argument(help="A file or folder, as for `timbre corpus add`; without one, the style as it stands is validated.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="The style these texts are written in; made if it does not exist.")] = None,
    by: Annotated[str, typer.Option(help="Who hands this in: a person or a team.")] = "",
    author: Annotated[str, typer.Option(help="Who wrote the texts.")] = "",
    licence: Annotated[str, typer.Option(help="Under which terms you may use them, for example CC-BY-4.0 or 'own work'.")] = "",
    consent: Annotated[str, typer.Option(help="How the author agreed that their manner is learnt.")] = "",
    name: Annotated[str | None, typer.Option(help="Name of the source, if the style and file name do not make a good one.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column that holds the text.")] = None,
    author_column: Annotated[str | None, typer.Option(help="Column that names the author.")] = None,
    date_column: Annotated[str | None, typer.Option(help="Column that holds the date.")] = None,
    role: Annotated[str | None, typer.Option(help="Whose turns of a chat are the texts.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the text files; found out for each by default.")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code; found out by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate only; keep nothing.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show every validation, of a style or of all.")] = False,
    contract: Annotated[bool, typer.Option("--contract", help="Show the contract's version and rules.")] = False,
    json_output: Json = False,
) -> None:
    """Hand texts in: held to the data contract, versioned with DVC, recorded with who, licence and consent, and pushed.

    What is refused is told rule by rule and document by document (exit code 2), and leaves the corpus as it was.

    \b
    timbre handin essays/ --style essays --by "Data team" --author "A. Writer" --licence "own work"
    timbre handin --style literary --by "Data team"
    timbre handin --history --style essays
    """
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    if contract:
        _show_contract(json_output)
        return
    from timbre.tasks.handin import hand_in, validations

    if history:
        _show_history(validations(style or ""), json_output)
        return
    if style is None:
        raise ValueError("style is missing: say `--style NAME`, the style that these texts are written in")
    request = None
    if path is not None:
        from timbre.corpus.adding import Request

        fields = {"text_column": text_column, "author_column": author_column, "date_column": date_column, "role": role}
        reading = {field: value for field, value in {**fields, "encoding": encoding}.items() if value is not None}
        request = Request(path, style, author, licence, name, consent=consent or None, language=language, reading=reading)
    elif given := [option for option, value in (("--author", author), ("--licence", licence), ("--consent", consent)) if value]:
        raise ValueError(f"{', '.join(given)} would be ignored: they belong to files that are handed in; name a file or folder")
    with warnings.catch_warnings(record=True) as notes:
        record = hand_in(request, style, by, dry_run=dry_run)
    for note in notes:
        print(fill(f"note: {note.message}", 80), file=sys.stderr)
    if json_output:
        print(json.dumps(_as_json(record) | {"dry_run": dry_run}, indent=2))
    else:
        _tell(record, dry_run=dry_run)
    if record.outcome == "refused":
        raise typer.Exit(INPUT)


def _as_json(record: "HandIn") -> dict[str, Any]:
    from timbre.corpus.handins import data_docs_of, page_of
    from timbre.settings import settings

    home = settings().home
    docs = data_docs_of(home, record)
    told = record.model_dump(mode="json", exclude={"rules_in_force"})
    return told | {
        "accepted": record.outcome != "refused", "contract_digest": record.rules_in_force.digest, "data_docs": str(docs) if docs else None,
        "page": str(page_of(home)),
    }  # fmt: skip


def _tell(record: "HandIn", *, dry_run: bool) -> None:
    from timbre.corpus.handins import data_docs_of, page_of
    from timbre.settings import settings

    where = f": {record.revision}, digest {record.digest[:12]}" if record.digest else ""
    print(f"{'would be ' if dry_run else ''}{record.outcome}{where}")
    print(f"{record.read} documents read, {record.kept} kept; contract version {record.contract}, handed in by {record.by}")
    for term in record.terms:
        print(f"  {term.source}: {term.author or 'several authors'}, {term.licence}; consent: {term.consent}")
    for reason, count in record.rejected.items():
        print(f"  {count} left out: {reason.replace('_', ' ')}")
    for rule in dict.fromkeys(finding.rule for finding in record.findings):
        _tell_rule(rule, [finding for finding in record.findings if finding.rule == rule])
    if record.to_hand_in_again:
        print(f"to hand in again under the new contract: {', '.join(record.to_hand_in_again)}")
    home = settings().home
    if not dry_run:
        print(f"Data Docs {data_docs_of(home, record) or 'none'}, history {page_of(home)}")


def _tell_rule(rule: str, findings: "Sequence[Finding]") -> None:
    print(f"\nrule broken: {rule}")
    for finding in findings[:_SHOWN]:
        where = f"{finding.document}: " if finding.document else ""
        print(fill(f"{where}{finding.found}; {finding.fix}", _WIDTH, initial_indent="  ", subsequent_indent="    "))
    if len(findings) > _SHOWN:
        print(f"  and {len(findings) - _SHOWN} more: --json names all")


def _show_history(records: "Sequence[HandIn]", json_output: bool) -> None:
    if json_output:
        print(json.dumps([_as_json(record) for record in records], indent=2))
        return
    for record in records:
        fix = f", {len(record.findings)} to fix" if record.findings else ""
        said = f"{record.outcome}{' as ' + record.revision if record.revision else ''}, contract {record.contract}"
        print(f"{record.at:%Y-%m-%d %H:%M}  {record.style}  {said}, by {record.by}, {record.kept} of {record.read} documents{fix}")
    if not records:
        print("Nothing has been handed in yet.", file=sys.stderr)


def _show_contract(json_output: bool) -> None:
    from timbre.corpus.contract_versions import read_contract, read_rules, rule_name
    from timbre.settings import settings

    rules = read_rules(settings())
    try:
        version, problem = read_contract(settings()).version.number, ""
    except ValueError as error:
        version, problem = None, str(error)
    if json_output:
        print(json.dumps({"version": version, "rules": rules.digest, "problem": problem or None} | rules.model_dump(mode="json"), indent=2))
        return
    print(f"version {version}" if version is not None else f"no version: {problem}")
    print(f"rules {rules.digest}")
    for entry in rules.expectations:
        print(f"  {rule_name(entry)}")
    for reason, share in rules.limits.items():
        print(f"  at most {share:.0%} of the documents left out: {reason.replace('_', ' ')}")


def handout(
    what: Annotated[
        Literal["corpus", "target", "sequence"],
        typer.Argument(help="corpus: the documents; target: the distributions; sequence: completions and their weights."),
    ],
    style: Style = "literary",
    version: Annotated[int | None, typer.Option(min=1, help="Its number; the newest if not given.")] = None,
    datasheet: Annotated[Path | None, typer.Option(help="Write the datasheet (Markdown) to this file.")] = None,
    json_output: Json = False,
) -> None:
    """Show how another repository takes a version of a corpus or target by DVC, with its datasheet. Changes nothing.

    timbre handout corpus --style literary --datasheet literary.md
    """
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.handover import hand_out, write_datasheet

    handed = hand_out(what, style, version)
    if datasheet is not None:
        write_datasheet(handed, datasheet)
    if json_output:
        print(handed.model_dump_json(indent=2))
        return
    print(f"{handed.revision}, digest {handed.digest[:12]}")
    for command in handed.commands:
        print(f"  {command}")
    print(f"datasheet {datasheet}" if datasheet is not None else f"\n{handed.datasheet}")
