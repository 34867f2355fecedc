"""Counterfactual texts: the gap is 0 on average where both sides are written alike, and seen where they are not."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.evaluation.bias.counterfactual import KIND, energy_distance, measure, prompts, read_templates, sentiment
from timbre.evaluation.bias.tables import category_table
from timbre.models.loading import tokenizer_of
from timbre.settings import settings

SHIPPED = settings().root / "data/prompts/bias/counterfactual.jsonl"
VALUES = st.lists(st.integers(-40, 40).map(float), min_size=2, max_size=12)


def rows(lean: float, templates: int = 40, samples: int = 6, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of ten words, each pleasant with chance .3 on side b, and `lean` more on side a."""
    chance = random.Random(seed)
    found = []
    for number in range(templates):
        for side in "ab":
            share = 0.3 + (lean if side == "a" else 0.0)
            for sample in range(samples):
                text = " ".join("lovely" if chance.random() < share else "stone" for _ in range(10)) + "."
                about = {"category": ("gender", "age")[number % 2], "side": side, "attribute": side}
                found.append(
                    {
                        "prompt_id": f"t{number}/{side}",
                        "cluster": f"t{number}",
                        "kind": KIND,
                        "sample": sample,
                        "text": text,
                        "about": about,
                    }
                )
    return found


@given(x=VALUES, y=VALUES)
def test_the_energy_distance_is_symmetric_and_sees_a_shift(x: list[float], y: list[float]) -> None:
    one, other = np.array(x), np.array(y)
    assert energy_distance(one, other) == pytest.approx(energy_distance(other, one))
    assert energy_distance(one, one + 1000) == pytest.approx(2000, rel=0.3)


def test_the_gap_is_zero_on_average_however_much_a_model_scatters() -> None:
    chance = np.random.default_rng(0)
    for spread in (0.1, 10.0):
        gaps = [energy_distance(*chance.normal(0, spread, (2, 4))) for _ in range(4000)]
        assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(len(gaps)), spread


def test_a_model_that_favours_one_side_is_seen_and_one_that_does_not_is_not() -> None:
    fair_items, fair = measure(rows(0.0))
    items, leaning = measure(rows(0.4), toxic=lambda texts: [("insult",) if "lovely lovely lovely" in text else () for text in texts])
    whole, even = leaning["table"][0], fair["table"][0]
    assert whole["category"] == "all" and whole["templates"] == 40 and whole["texts"] == 480
    assert whole["sentiment"]["difference"]["low"] > 30 and whole["gap"]["low"] > 0
    assert even["sentiment"]["difference"]["low"] < 0 < even["sentiment"]["difference"]["high"] and even["gap"]["low"] < 0
    assert whole["toxic"]["a"] > whole["toxic"]["b"] and "toxic" not in even
    assert [row["category"] for row in leaning["table"]] == ["all", "age", "gender"]
    assert len(items) == len(fair_items) == 40 and {item["metric"] for item in items} == {"counterfactual_gap"}
    paired = category_table(fair_items, items, {item["item"]: "all of them" for item in items})
    assert paired[0]["difference"]["low"] > 0, "the gates pair base and candidate by template"


def test_one_text_a_side_shows_no_scatter_and_is_refused(tiny_model_dir: Path) -> None:
    with pytest.raises(ValueError, match="t0 has fewer than two texts on a side"):
        measure(rows(0.0, samples=1))
    tokenizer = tokenizer_of(tiny_model_dir)
    with pytest.raises(ValueError, match="counterfactual_samples"):
        prompts(read_templates(SHIPPED), tokenizer, count=1, samples=1, new_tokens=8, seed=0)


def test_prompts_take_turns_between_categories_and_keep_both_sides_together(tiny_model_dir: Path) -> None:
    tokenizer = tokenizer_of(tiny_model_dir)
    asked = prompts(read_templates(SHIPPED), tokenizer, count=9, samples=3, new_tokens=8, seed=0)
    assert len(asked) == 18 and len({prompt.prompt_id for prompt in asked}) == 18
    assert len({prompt.about["category"] for prompt in asked[:16]}) == 8, "one of every category before the second of any"
    for one, other in zip(asked[::2], asked[1::2], strict=True):
        assert one.cluster == other.cluster and (one.about["side"], other.about["side"]) == ("a", "b")
        assert one.sampler == "serving" and one.samples == 3 and one.token_ids != other.token_ids


def test_shipped_templates_are_many_unrelated_and_not_those_of_the_probes() -> None:
    templates = read_templates(SHIPPED)
    assert len(templates) >= 60 and len({template.category for template in templates}) == 8
    probes = [json.loads(line) for line in (settings().root / "data/probes/bias.jsonl").read_text(encoding="utf-8").splitlines()]
    known = {probe[name] for probe in probes for name in ("text_a", "text_b")}
    for template in templates:
        one, other = (set(text.lower().split()) for text in template.texts)
        assert len(one & other) >= 0.4 * min(len(one), len(other)), f"{template.template_id}: the sides share too little"
        assert not any(text[: len(beginning)] == beginning for text in known for beginning in template.texts)
    frames = [frozenset(template.texts[0].lower().split()) & frozenset(template.texts[1].lower().split()) for template in templates]
    for place, frame in enumerate(frames):
        assert all(len(frame & other) <= 0.7 * len(frame | other) for other in frames[:place]), templates[place].template_id


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: not JSON"),
        ('{"id": "a"}', "line 1: needs id, category"),
        (
            json.dumps(dict.fromkeys(("id", "category", "attribute_a", "attribute_b", "text_a", "text_b"), "x")),
            "the two texts are the same",
        ),
    ],
)
def test_a_wrong_template_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(line)
    with pytest.raises(ValueError, match=said):
        read_templates(tmp_path / "own.jsonl")


def test_sentiment_is_signed_and_a_text_without_words_has_none() -> None:
    assert sentiment("a lovely day") == pytest.approx(100 / 3) == -sentiment("a horrible day") and sentiment("…") == 0
