"""Policies: the ones that come along are what they say, and ones that cannot be meant are refused by field."""

from pathlib import Path

import pytest

from timbre.artifacts import FileInput
from timbre.gates.policy import Policy, read_policy


def shipped(name: str, quick: FileInput) -> Policy:
    return read_policy(quick.path.with_name(f"{name}.toml"))


def test_standard_is_stricter_than_quick_in_every_gate(quick: FileInput) -> None:
    weak, strict = shipped("quick", quick), shipped("standard", quick)
    assert strict.strictness > weak.strictness
    assert strict.weaker_gates(weak) == []
    assert {"bias", "facts", "memorisation"} <= set(weak.weaker_gates(strict))


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_policies_ask_for_everything_that_a_release_must_show(name: str, quick: FileInput) -> None:
    kinds = {gate.name: gate.kind for gate in shipped(name, quick).gates}
    wanted = {
        "held_out_nll": "superiority", "bias": "non_inferiority", "facts": "non_inferiority", "memorisation": "ceiling",
        "parity": "ceiling", "parity_greedy": "floor", "target": "equality",
    }  # fmt: skip
    assert wanted.items() <= kinds.items()


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("margin = 0.25", "margin = -0.25", "greater than or equal to 0"),
        ("margin = 0.25", "margin = nan", "margin"),
        ("margin = 0.25", "", "needs 'margin'"),
        ("equals = true", "equals = true\nlimit = 3.0", "takes no 'limit'"),
        ('name = "bias"', 'name = "held_out_nll"', "two gates are called held_out_nll"),
        ('kind = "superiority"', 'kind = "vibes"', "kind"),
        ("strictness = 10", "strictness = 10\nforce = true", "force"),
        ('name = "quick"', 'name = "slow"', "must be the same"),
        ("[[gates]]", "[[gates", "not a readable policy"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(quick: FileInput, tmp_path: Path, before: str, after: str, complaint: str) -> None:
    text = quick.path.read_text()
    assert before in text
    changed = tmp_path / "quick.toml"
    changed.write_text(text.replace(before, after, 1))
    with pytest.raises(ValueError, match=complaint):
        read_policy(changed)


def test_policy_without_gates_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text('name = "empty"\nstrictness = 99\nsummary = "lets everything through"\ngates = []\n')
    with pytest.raises(ValueError, match="gates"):
        read_policy(empty)


def test_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable policy"):
        read_policy(tmp_path / "none.toml")
