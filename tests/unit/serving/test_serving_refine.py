"""Refinement: never worse than its draft by its own score, the same for the same seed, bounded, and its words still the model's."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.serving.conftest import Promotions, serving
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import SamplerConfig
from timbre.inference.spans import Spans
from timbre.inference.watermark import Watermark, keys_of
from timbre.metrics.critic import StyleCritic
from timbre.serving.engine import Engine
from timbre.serving.refine import STRETCH, Refiner

PROMPT = "Beyond the grey water, the old"


class Vowels:
    """A critic that is easy to please in steps: the share of letters that are no a."""

    def distances(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.array([1 - text.count("a") / max(len(text), 1) for text in texts])


class Content:
    """A critic with nothing to say."""

    def distances(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.zeros(len(texts))


@pytest.fixture(scope="module")
def engine(tiny_bundle: Artifact) -> Engine:
    return Engine.open(tiny_bundle.path)


@pytest.mark.parametrize("seed", range(3))
def test_a_refined_text_is_never_worse_than_its_draft_and_every_step_falls_or_stays(engine: Engine, seed: int) -> None:
    found = Refiner(engine, Vowels()).refine(PROMPT, steps=6, max_new_tokens=60, seed=seed)
    scores = [found.draft_score, *(step.score for step in found.steps)]
    assert all(after <= before + 1e-6 for before, after in pairwise(scores))
    assert found.score <= found.draft_score and len(found.steps) <= 6
    assert found.score == pytest.approx(float(Vowels().distances([found.text])[0]), abs=1e-6)
    assert found.score < found.draft_score and found.text != found.draft  # eight random ways six times: some have more a's


def test_no_steps_give_the_draft_which_is_the_text_of_the_engine(engine: Engine) -> None:
    found = Refiner(engine, Vowels()).refine(PROMPT, steps=0, max_new_tokens=40, seed=7)
    assert found.text == found.draft == "".join(engine.stream(PROMPT, max_new_tokens=40, seed=7)) and found.steps == ()


def test_the_same_seed_gives_the_same_text_and_length_is_kept(engine: Engine) -> None:
    one, two = (Refiner(engine, Vowels()).refine(PROMPT, steps=3, max_new_tokens=50, seed=2) for _ in range(2))
    assert one == two and len(one.token_ids) == len(Refiner(engine, Vowels()).refine(PROMPT, steps=0, max_new_tokens=50, seed=2).token_ids)


def test_a_text_that_is_near_enough_costs_nothing_more(engine: Engine) -> None:
    found = Refiner(engine, Content()).refine(PROMPT, steps=8, max_new_tokens=40, seed=1)
    assert found.steps == () and found.text == found.draft and found.read < 100


def test_it_stops_when_told_and_when_every_stretch_was_tried(engine: Engine) -> None:
    asked = iter([True, True, False])
    assert len(Refiner(engine, Vowels()).refine(PROMPT, steps=9, max_new_tokens=60, seed=0, going=lambda: next(asked)).steps) == 2

    class Stubborn:
        def distances(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
            return np.ones(len(texts))

    found = Refiner(engine, Stubborn()).refine(PROMPT, steps=30, max_new_tokens=2 * STRETCH, seed=0)
    assert 1 <= len(found.steps) <= 4 and not any(step.kept for step in found.steps) and found.text == found.draft


def test_greedy_text_and_senseless_counts_are_refused(engine: Engine) -> None:
    refiner = Refiner(engine, Vowels())
    with pytest.raises(ValueError, match="greedy"):
        refiner.refine(PROMPT, steps=1, sampler=SamplerConfig(temperature=0))
    for steps, tokens in ((-1, 10), (1000, 10), (1, 0)):
        with pytest.raises(ValueError, match="steps"):
            refiner.refine(PROMPT, steps=steps, max_new_tokens=tokens)


def test_a_marked_text_is_still_marked_after_refinement(engine: Engine) -> None:
    mark = Watermark(keys_of(b"a secret of thirty-two bytes ....."))
    found = Refiner(engine, Vowels(), mark).refine(PROMPT, steps=4, max_new_tokens=200, seed=3)
    assert any(step.kept for step in found.steps) and mark.detect(found.token_ids).p_value < 1e-6


def test_the_style_critic_puts_human_passages_before_word_salad() -> None:
    random = np.random.default_rng(0)
    said = ["the old man", "went out upon the sea,", "and said nothing;", "his nets were lost", "in the grey morning.", "She wrote of it"]
    human = [" ".join(said[place].strip() for place in random.integers(0, len(said), 16)) for _ in range(60)]
    critic = StyleCritic.of(human)
    salad = ["zq " * 60, "WHAT?! 99 77 (3) " * 15]
    assert critic.distances(salad).min() > np.quantile(critic.distances(human), 0.9)
    with pytest.raises(ValueError, match="passages"):
        StyleCritic.of(["too little"])


def test_a_server_refines_one_text_and_says_what_it_did(promotions: Callable[..., Promotions], tiny_parts: dict[str, Artifact]) -> None:
    place = promotions()
    with serving(place.home) as running:
        refused = running.post("/v1/completions", prompt=PROMPT, refine=2)
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "no_reference", refused.text
        assert running.post("/v1/completions", prompt=PROMPT, no_repeat=4).json()["error"]["code"] == "no_reference"
        ArtifactStore(place.home).adopt(tiny_parts["corpus"].path)
        answer = running.text(PROMPT, refine=2, max_tokens=40, seed=5)
        did = answer["timbre"]["refine"]
        assert did["score"] <= did["draft_score"] and did["steps"] <= 2 and answer["usage"]["completion_tokens"] > 0
        assert did["draft"] == running.text(PROMPT, max_tokens=40, seed=5)["choices"][0]["text"]
        assert running.text(PROMPT, refine=2, max_tokens=40, seed=5)["choices"] == answer["choices"]
        for wrong in ({"stream": True}, {"n": 2}, {"stop": "x"}, {"logprobs": 1}, {"strength": 0.5}, {"refine": 33}, {"temperature": 0}):
            assert running.post("/v1/completions", **({"prompt": PROMPT, "refine": 2} | wrong)).status_code == 400, wrong
        assert running.post("/v1/completions", prompt=[PROMPT, PROMPT], refine=2).status_code == 400


def test_texts_do_not_recite_served_or_not(promotions: Callable[..., Promotions], tiny_parts: dict[str, Artifact], engine: Engine) -> None:
    from timbre.export.reference import read_spans

    place = promotions()
    spans = read_spans(ArtifactStore(place.home).adopt(tiny_parts["corpus"].path), engine.tokenizer)
    with serving(place.home) as running:
        for seed in range(2):
            answer = running.text(PROMPT, no_repeat=3, max_tokens=60, seed=seed)["choices"][0]["text"]
            assert answer == "".join(engine.stream(PROMPT, max_new_tokens=60, seed=seed, spans=(spans, 3)))

    plain = list[int]()
    "".join(engine.stream(PROMPT, max_new_tokens=100, seed=1, watch=plain.append))
    taught = Spans(np.array([*plain, -1], np.int32))  # as if it had been taught its own text, which it would recite

    def recited(kept_out: "tuple[Spans, int] | None") -> int:
        text = engine.prompt_ids(PROMPT)
        first = len(text)
        "".join(engine.stream(PROMPT, max_new_tokens=100, seed=1, spans=kept_out, watch=text.append))
        return sum(text[place] in taught.after(text[:place], 3) for place in range(first, len(text)))

    assert recited((taught, 3)) == 0 < recited(None)
