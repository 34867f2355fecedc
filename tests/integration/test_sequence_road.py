"""The road at the sequence level, by the real command: completions, a decision, a student, a version of the data registry."""

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

pytestmark = pytest.mark.road

LEVEL = {
    "target.level": "sequence", "target.sequence.prompts": 40, "target.sequence.completions": 2, "target.sequence.prompt_tokens": 8,
    "target.sequence.new_tokens": 24, "target.sequence.epochs": 1, "baseline.objective": "forward_kl",
}  # fmt: skip


def test_a_release_at_the_sequence_level_decides_trains_and_keeps_a_version(checkout: "Callable[[], Checkout]") -> None:
    place = checkout()
    outcome = place.run(**LEVEL)
    steps = outcome["steps"]
    assert outcome["exit"] in (0, 3, 4) and {"token_adapter", "completions", "sequence", "control", "baseline_adapter"} <= steps.keys()
    tags = ["git", "-C", str(place.home / "registry"), "tag", "--list", "sequence/*"]
    assert subprocess.run(tags, check=True, capture_output=True, text=True).stdout.split() == ["sequence/tiny/v1"]
    again = place.run(**LEVEL)
    assert all(step["cached"] for step in again["steps"].values())
    plain = place.run(**{"baseline.objective": "forward_kl"})
    assert plain["steps"]["adapter"]["cached"], "the token-level student of the sequence level is the one of a plain release"
    assert plain["steps"]["adapter"]["digest"] == steps["token_adapter"]["digest"]
