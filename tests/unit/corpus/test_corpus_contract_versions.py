"""What a change of the contract breaks, and that the shipped contract stands under its version."""

import pytest

from timbre.corpus.contract_versions import Contract, ContractVersion, Migration, Rules, breaking, read_contract, require_migration
from timbre.settings import settings


def rules(**kwargs: object) -> Rules:
    entry = {"type": "expect_table_row_count_to_be_between", "kwargs": kwargs}
    return Rules(expectations=(entry,), limits={"empty": 0.1}, consent_required=False)


def test_the_shipped_rules_are_those_of_their_newest_version() -> None:
    contract = read_contract(settings())
    assert contract.version.rules == contract.rules.digest and contract.rules.consent_required


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (rules(min_value=3), None),
        (rules(min_value=5), "asks for more: row count to be between (min value 5)"),
        (rules(min_value=4, max_value=9), "asks for more: row count to be between"),
        (rules(min_value=4).model_copy(update={"limits": {"empty": 0.0}}), "asks for more: at most 0% empty"),
        (rules(min_value=4).model_copy(update={"limits": {}}), None),
        (rules(min_value=4).model_copy(update={"consent_required": True}), "new: consent is recorded"),
        (rules(min_value=4).model_copy(update={"expectations": ()}), None),
    ],
)
def test_what_asks_for_more_breaks_and_what_asks_for_less_does_not(now: Rules, sentence: str | None) -> None:
    found = breaking(rules(min_value=4), now)
    assert found == [] if sentence is None else len(found) == 1 and found[0].startswith(sentence)


def test_an_older_contract_is_refused_and_a_migration_lets_a_newer_one_pass() -> None:
    before, now = rules(min_value=4), rules(min_value=5)
    version = ContractVersion(number=2, rules=now.digest, why="More.")
    with pytest.raises(ValueError, match="has no migration"):
        require_migration(before, 1, Contract(rules=now, version=version))
    with pytest.raises(ValueError, match="stand under version 2"):
        require_migration(before, 2, Contract(rules=now, version=version))
    require_migration(before, 1, Contract(rules=now, version=version.model_copy(update={"migration": Migration(how="Write more.")})))
