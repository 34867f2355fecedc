"""`timbre generate`: the text, how fast it came, and the untuned model's text beside it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.serving.conftest import Promotions
from timbre.cli import app
from timbre.serving.engine import Engine
from timbre.serving.timing import Timed
from timbre.settings import settings

PROMPT = "Beyond the grey water, the old"


@pytest.fixture
def place(promotions: Callable[..., Promotions], monkeypatch: pytest.MonkeyPatch) -> Promotions:
    made = promotions()
    monkeypatch.setenv("TIMBRE_HOME", str(made.home))
    settings.cache_clear()
    return made


def generate(*options: str) -> Any:
    done = CliRunner().invoke(app, ["generate", PROMPT, "--tokens", "12", *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.mark.usefixtures("place")
def test_speed_first_token_seed_and_count_stand_in_json_and_below_the_text() -> None:
    told = json.loads(generate("--json", "--seed", "7").stdout)
    assert told["seed"] == 7 and 1 <= told["tokens"] <= 12 and told["first_token_ms"] > 0 and told["engine_start_s"] > 0
    assert told["tokens"] == 1 or told["tokens_per_second"] > 0
    done = generate("--seed", "7")
    assert done.stdout == f"{PROMPT}{told['text']}\n"
    assert f"{told['tokens']} token" in done.stderr and "the first after" in done.stderr and "seed 7; engine ready in" in done.stderr


def test_beside_base_shows_what_each_model_writes_alone(place: Promotions, tiny_base: Any) -> None:
    told = json.loads(generate("--json", "--beside", "base").stdout)
    assert told["text"] == json.loads(generate("--json").stdout)["text"], "the tuned text is the one of the plain command"
    untuned = json.loads(generate("--json", "--strength", "0").stdout)["text"]
    assert told["beside"]["name"] == "base" and told["beside"]["text"] == untuned
    assert told["beside"]["tokens"] > 0 and told["beside"]["first_token_ms"] > 0
    shown = generate("--beside", "base")
    assert "base" in shown.stdout and "tuned, v1" in shown.stdout and "base: " in shown.stderr and "tuned: " in shown.stderr


def test_what_is_counted_is_what_was_drawn(tiny_bundle: Any) -> None:
    engine = Engine.of(tiny_bundle)
    drawn: list[int] = []
    text = "".join(engine.stream(PROMPT, max_new_tokens=9, seed=3, watch=drawn.append))
    timed = Timed(engine, PROMPT, max_new_tokens=9, seed=3)
    assert "".join(timed) == text and timed.tokens == len(drawn) > 0
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        Timed(engine, PROMPT, max_new_tokens=0)
