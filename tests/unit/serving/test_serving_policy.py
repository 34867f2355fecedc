"""What is concluded from served texts: by exact bounds, against human text, and never from too little."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.registry.ledger import CompareAndSetLost, Ledger
from timbre.registry.trials import Trial, due, open_trial
from timbre.serving.challengers import in_share
from timbre.serving.observations import Observations, Seen
from timbre.serving.policy import ServingPolicy, judge, read_policy, verdict_of
from timbre.serving.style import HumanStyle, style_distance
from timbre.settings import PROJECT_ROOT

POLICY = ServingPolicy(least=20)
WORDS = tuple("the old sea was grey and it broke upon a cold shore where no ship had ever come before that night".split())  # noqa: SIM905


def human(count: int, seed: int) -> list[str]:
    """Sentences of one manner."""
    rng = random.Random(seed)
    return [". ".join(" ".join(rng.choices(WORDS, k=rng.randint(6, 12))).capitalize() for _ in range(8)) + "." for _ in range(count)]


def looping(count: int) -> list[str]:
    return ["go go go! " * 30 for _ in range(count)]


def seen(texts: list[str], style: HumanStyle, *, ok: bool = True, token_ms: float = 10.0, ruler: str = "r") -> list[Seen]:
    return [Seen(f"c{number}", ok, 50, 20.0, token_ms, ruler, style.features(text)) for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def style() -> HumanStyle:
    return HumanStyle(human(200, 0))


def test_human_text_has_no_distance_and_a_loop_has_a_large_one(style: HumanStyle) -> None:
    def distance(texts: list[str]) -> float:
        found = style_distance([each for text in texts if (each := style.features(text)) is not None], range(len(texts)))
        assert found is not None and found.low < found.value < found.high
        return found.value

    assert abs(distance(human(100, 1))) < 0.02
    assert distance(looping(100)) > 1


def test_texts_of_few_clients_and_short_texts_are_not_measured(style: HumanStyle) -> None:
    features = [each for text in human(50, 2) if (each := style.features(text)) is not None]
    assert style_distance(features, [number % 9 for number in range(50)]) is None
    assert style.features("Too short to tell.") is None
    with pytest.raises(ValueError, match="fewer than 20 human texts"):
        HumanStyle(["A few words."] * 30)


def test_a_challenger_like_the_champion_passes_when_enough_was_seen(style: HumanStyle) -> None:
    own, other = seen(human(800, 3), style), seen(human(800, 4), style)
    assert verdict_of(judge(own, other, POLICY, "v1", speed=True)) == "PASS"
    assert verdict_of(judge(own[:10], other, POLICY, "v1", speed=True)) == "INCONCLUSIVE"
    assert verdict_of(judge([], other, POLICY, "v1", speed=True)) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda rows, style: [replace(row, ok=number % 5 > 0) for number, row in enumerate(rows)], "errors"),
        (lambda rows, style: seen(looping(len(rows)), style), "style"),
        (lambda rows, style: [replace(row, token_ms=25.0) for row in rows], "speed"),
    ],
)
def test_each_fault_fails_by_its_own_name(spoil: Callable[[list[Seen], HumanStyle], list[Seen]], name: str, style: HumanStyle) -> None:
    own, other = spoil(seen(human(100, 5), style), style), seen(human(100, 6), style)
    failing = [finding.name for finding in judge(own, other, POLICY, "v1", speed=True) if finding.verdict == "FAIL"]
    assert name in failing and set(failing) <= {name, "style beside"}


def test_two_broken_texts_are_an_accident_and_three_of_ten_are_not(style: HumanStyle) -> None:
    rows = seen(human(10, 7), style)
    for broken, verdict in ((2, "INCONCLUSIVE"), (3, "FAIL")):
        own = [replace(row, ok=number >= broken) for number, row in enumerate(rows)]
        assert judge(own, [], POLICY, "", speed=False)[0].verdict == verdict


def test_a_share_is_met_sticks_to_its_client_and_differs_by_trial() -> None:
    trial = Trial("m", 1, "begin", 2, "b", 1, 0.2, False, 7, "", {}, datetime.now(UTC))
    chosen = [in_share(trial, f"client {number}") for number in range(4000)]
    assert abs(sum(chosen) - 800) < 4 * np.sqrt(4000 * 0.2 * 0.8)
    assert chosen == [in_share(trial, f"client {number}") for number in range(4000)]
    other = [in_share(replace(trial, seed=8), f"client {number}") for number in range(4000)]
    assert chosen != other and abs(sum(a and b for a, b in zip(chosen, other, strict=True)) - 160) < 4 * np.sqrt(160)
    assert all(in_share(replace(trial, share=1.0), str(number)) for number in range(100))


def test_observations_outlive_the_process_and_stay_bounded(tmp_path: Path, style: HumanStyle) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    rows = seen(human(30, 8), style)
    first = Observations(url, keep=20)
    first.add("m", 1, rows)
    first.add("m", 2, rows[:3])
    first.close()
    again = Observations(url, keep=20)
    kept = again.newest("m", 1)
    assert [row.client for row in kept] == [row.client for row in rows[-20:]]
    assert kept[0].style is not None and rows[10].style is not None and (kept[0].style == rows[10].style).all()
    assert len(again.newest("m", 2)) == 3 and again.newest("m", 3) == []
    again.close()


def test_of_two_servers_that_decide_at_once_one_decides(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    begun = ledger.add_trial(None, model="m", event="begin", version=2, bundle="b", move=1, reason="test", share=0.1, seed=3)
    assert open_trial(ledger.trials("m"), 1) == begun and open_trial(ledger.trials("m"), 2) is None
    ended = ledger.add_trial(begun, model="m", event="promote", version=2, bundle="b", move=1, reason="test", evidence={"a": 1})
    with pytest.raises(CompareAndSetLost, match="another process decided"):
        ledger.add_trial(begun, model="m", event="end", version=2, bundle="b", move=1, reason="test")
    assert due(ledger.trials("m"), 1) == ended and due(ledger.trials("m"), 2) is None
    assert ended.evidence == {"a": 1} and ledger.check()["trials of m"].wrong == ()
    ledger.close()


def test_the_shipped_policy_is_the_default() -> None:
    assert read_policy(PROJECT_ROOT / "data" / "serving.toml") == ServingPolicy()


def test_a_field_that_is_not_served_is_named_for_programs_too() -> None:
    from pydantic import ValidationError

    from timbre.serving.refusal import of_fields
    from timbre.serving.requests import CompletionRequest

    with pytest.raises(ValidationError) as error:
        CompletionRequest.model_validate_json('{"prompt": "a", "presence_penalty": 0.5}')
    refusal = of_fields(error.value)
    assert (refusal.status, refusal.param, refusal.code) == (400, "presence_penalty", "unsupported_field")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "user", "content": 5}, {"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 4}]}, {"role": "x", "content": "a"}]}, "messages.0.content"),
        ({"messages": [{"role": "user"}, {"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": []}, {"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "a"}], "stop": ["a"] * 5}, "stop"),
    ],
)
def test_the_first_field_that_is_wrong_is_the_one_that_is_named(body: dict[str, Any], param: str) -> None:
    import json

    from pydantic import ValidationError

    from timbre.serving.refusal import of_fields
    from timbre.serving.requests import ChatRequest

    with pytest.raises(ValidationError) as error:
        ChatRequest.model_validate_json(json.dumps(body))
    refusal = of_fields(error.value)
    assert (refusal.status, refusal.param) == (400, param) and refusal.message.startswith(f"{param}: "), refusal.message
