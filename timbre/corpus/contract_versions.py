"""The contract of a hand-in as a version: which rules it has, what a change of them breaks, and whether that has a migration.

The rules are the expectations of `data/contract/corpus.toml` and the limits of `data/contract/handin.toml`; the versions stand
in the latter, each with the digest of its rules, so that a rule that was changed without a version is found out.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from timbre.artifacts import canonical_json, digest_json
from timbre.config import Frozen, read_toml
from timbre.corpus.contract import load_contract, suite_digest
from timbre.settings import Settings

EXPECTATIONS, HANDIN = "data/contract/corpus.toml", "data/contract/handin.toml"
ALL = "all"
"""The limit on everything that is left out, whatever the reason."""


class Migration(Frozen):
    """What becomes of corpora that were good under the version before."""

    how: str = Field(min_length=1, description="What their owners do before they hand in again.")


class ContractVersion(Frozen):
    """One version: its number, the digest of its rules, why it came, and what it asks of those who kept the one before."""

    number: int = Field(ge=1)
    rules: str
    why: str = Field(min_length=1)
    migration: Migration | None = None


class Rules(Frozen):
    """Everything that a hand-in is held to."""

    expectations: tuple[dict[str, Any], ...]
    limits: dict[str, float]
    consent_required: bool

    @property
    def digest(self) -> str:
        return digest_json(
            {"suite": suite_digest(list(self.expectations)), "limits": self.limits, "consent_required": self.consent_required}
        )


class Contract(Frozen):
    """The rules that hold now, and their version."""

    rules: Rules
    version: ContractVersion


class _File(Frozen):
    consent_required: bool
    limits: dict[str, float] = Field(default_factory=dict)
    version: tuple[ContractVersion, ...] = Field(min_length=1)


def read_rules(settings: Settings) -> Rules:
    """The rules as the project's files have them, whatever their version.

    Raises:
        ValueError: a file is not well formed, or a limit is no share.
    """
    file = _read(settings.file(HANDIN))
    expected = tuple(load_contract(settings.file(EXPECTATIONS)))
    return Rules(expectations=expected, limits=file.limits, consent_required=file.consent_required)


def read_contract(settings: Settings) -> Contract:
    """The contract of this project.

    Raises:
        ValueError: a file is not well formed, or its rules are not those of its newest version.
    """
    path = settings.file(HANDIN)
    rules, newest = read_rules(settings), max(_read(path).version, key=lambda version: version.number)
    if newest.rules != rules.digest:
        raise ValueError(
            f"the rules of the contract are not those of its version {newest.number}: add a [[version]] with number = {newest.number + 1} "
            f'and rules = "{rules.digest}" to {path}, or take the change back'
        )
    return Contract(rules=rules, version=newest)


def _read(path: Path) -> _File:
    file = read_toml(path, _File)
    from timbre.corpus.documents import Reason

    known = {ALL, *(reason.value for reason in Reason)}
    if wrong := sorted(name for name, share in file.limits.items() if name not in known or not 0 <= share <= 1):
        raise ValueError(f"{path}: limits.{wrong[0]}: known are {', '.join(sorted(known))}, each a share from 0 to 1")
    numbers = [version.number for version in file.version]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{path}: two versions have the same number; numbers are {', '.join(map(str, numbers))}")
    return file


def breaking(before: Rules, now: Rules) -> list[str]:
    """What the new rules ask that the old ones did not, a sentence each; empty where all that was good stays good."""
    found = []
    old = {canonical_json(entry): entry for entry in before.expectations}
    gone = [entry for key, entry in old.items() if key not in {canonical_json(entry) for entry in now.expectations}]
    for entry in now.expectations:
        if canonical_json(entry) in old:
            continue
        match = next((other for other in gone if _place(other) == _place(entry)), None)
        if match is None:
            found.append(f"new: {rule_name(entry)}")
        elif not _looser(entry["type"], match["kwargs"], entry["kwargs"]):
            found.append(f"asks for more: {rule_name(entry)}")
    for name, share in now.limits.items():
        if share < before.limits.get(name, 1.0):
            found.append(f"asks for more: at most {share:.0%} {name.replace('_', ' ')}")
    if now.consent_required and not before.consent_required:
        found.append("new: consent is recorded")
    return found


def require_migration(before: Rules, number: int, contract: Contract) -> None:
    """Refuse a contract that breaks what `before`, version `number`, allowed, unless its version has a migration.

    Raises:
        ValueError: it breaks something and has none, or it is not the newer one.
    """
    if before.digest == contract.rules.digest:
        return
    now = contract.version
    if now.number <= number:
        raise ValueError(
            f"the registry's corpora stand under version {number} of the contract, and this project's is version {now.number}: take "
            f"the newer {HANDIN} and {EXPECTATIONS}, or give yours the number {number + 1}"
        )
    if (broken := breaking(before, contract.rules)) and now.migration is None:
        raise ValueError(
            f"version {now.number} of the contract breaks what was good under version {number} and has no migration "
            f"({'; '.join(broken)}): add [version.migration] to it in {HANDIN}, or take the change back"
        )


def rule_name(entry: dict[str, Any]) -> str:
    """An expectation in words: `column text: values to not be null`."""
    what = str(entry["type"]).removeprefix("expect_").removeprefix("column_").removeprefix("table_").replace("_", " ")
    column = entry["kwargs"].get("column")
    rest = {name: value for name, value in entry["kwargs"].items() if name not in ("column", "column_list")}
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rest.items())
    return (f"column {column}: " if column else "") + what + (f" ({told})" if told else "")


def _place(entry: dict[str, Any]) -> tuple[str, Any]:
    return entry["type"], entry["kwargs"].get("column")


def _looser(kind: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether whatever holds the old arguments holds the new ones; only what can be told for sure counts."""
    for name in old.keys() | new.keys():
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        match name:
            case "min_value":
                fine = now is None or (before is not None and now <= before)
            case "max_value":
                fine = now is None or (before is not None and now >= before)
            case "mostly":
                fine = now is not None and now <= (1.0 if before is None else before)
            case "value_set":
                fine = kind.endswith("_be_in_set") and set(before or ()) <= set(now or ())
            case _:
                fine = False
        if not fine:
            return False
    return True
