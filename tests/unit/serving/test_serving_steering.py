"""Diversity and strength while writing: torch's numbers, the same text alone and in a crowd, and more of what the word promises."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.unit.serving.conftest import Promotions, Running, serving
from timbre.artifacts import Artifact, ArtifactStore
from timbre.export.base import served_file
from timbre.export.session import Decoder
from timbre.export.slots import Slots
from timbre.inference import sampling
from timbre.inference.steering import Steering, steer
from timbre.serving.engine import Engine
from timbre.statistics import bootstrap_interval

PROMPT = "Beyond the grey water, the old"
SHARPER = 8
"""Random weights give nearly even distributions; times this, both models are as sure as trained ones."""
STEERED = [{"strength": 0}, {"strength": 0.5}, {"diversity": 0}, {"diversity": 1}, {"strength": 1.4, "diversity": 0.5}]


@pytest.fixture(scope="module")
def engine(tiny_bundle: Artifact) -> Engine:
    return Engine.open(tiny_bundle.path)


@pytest.fixture(scope="module")
def base(tiny_base: Artifact) -> Decoder:
    return Decoder.open(served_file(tiny_base))


def write(engine: Engine, base: Decoder, given: dict[str, float], prompt: str = PROMPT, **more: Any) -> str:
    return "".join(engine.stream(prompt, steering=Steering.model_validate(given), base=base, **more))


@pytest.mark.parametrize("given", STEERED)
def test_onnx_and_torch_agree_on_the_steered_distribution(
    given: dict[str, float], tiny_parts: dict[str, Artifact], engine: Engine, base: Decoder
) -> None:
    import torch

    from timbre.export.merge import merged_model

    ids = np.array([engine.prompt_ids(PROMPT)], np.int64)
    served = [decoder.step(ids, decoder.empty_cache(1))[0][0, :, : engine.facts.vocab_size] for decoder in (engine.decoder, base)]
    with torch.inference_mode():
        models = merged_model(tiny_parts["model"], tiny_parts["adapter"]), merged_model(tiny_parts["model"])
        trained = [model(torch.tensor(ids)).logits[0, :, : engine.facts.vocab_size] for model in models]  # type: ignore[operator]
    steering = Steering.model_validate(given)
    ours, theirs = (sampling.probabilities(steer(*pair, steering)) for pair in (served, trained))
    assert np.abs(ours - theirs.numpy()).max() < 1e-5


def test_strength_0_is_the_base_model_and_1_the_champion(engine: Engine, base: Decoder, tiny_bundle: Artifact, tiny_base: Artifact) -> None:
    untuned = Engine(engine.facts, engine.tokenizer, base, tiny_base.digest)
    assert write(engine, base, {"strength": 0}, seed=4) == "".join(untuned.stream(PROMPT, seed=4))
    assert (
        write(engine, base, {"strength": 1}, seed=4)
        == "".join(engine.stream(PROMPT, seed=4))
        != write(engine, base, {"strength": 0}, seed=4)
    )
    with pytest.raises(ValueError, match="give its decoder"):
        engine.stream(PROMPT, steering=Steering(diversity=0.5))


def test_the_base_copies_no_cache_at_a_token_and_says_what_its_exported_graph_says(base: Decoder, tiny_base: Artifact) -> None:
    exported = Decoder.open(tiny_base.file("model.onnx"))
    assert base.in_place and not exported.in_place
    found = []
    for decoder in (base, exported):
        logits, cache = decoder.step(np.array([[5, 6, 7, 8]], np.int64), decoder.empty_cache(1))
        rows = decoder.rows()
        rows.join(cache)
        found.append([logits[0, -1], *(rows.step(np.array([token]))[0].copy() for token in (9, 10, 11))])
    np.testing.assert_allclose(*found, atol=1e-4)


def test_more_diversity_gives_more_various_words(engine: Engine, base: Decoder) -> None:
    """Entropy a token, and distinct-2 over the texts of an opening: a step up at a time, and from end to end, with intervals."""
    words = ["sea", "old", "kettle", "lamp", "road", "morning", "river", "house", "stone", "night", "winter", "garden"]
    openings = [f"{opening} {word}" for opening in ("Beyond the", "In the long", "Under the") for word in words]
    found = []
    for diversity in (0.0, 0.5, 1.0):
        texts, entropies = _written(engine, base, Steering(diversity=diversity), openings, each=24, tokens=30)
        pairs = [[pair for row in rows for pair in pairwise(row)] for rows in texts]
        found.append(np.array([entropies, [len(set(rows)) / len(rows) for rows in pairs]]))
    (least, some, most), (alike, _, various) = zip(*found, strict=True)
    assert bootstrap_interval(some - least).low > 0 and bootstrap_interval(most - some).low > 0
    assert bootstrap_interval(various - alike).low > 0


def _written(
    engine: Engine, base: Decoder, steering: Steering, openings: list[str], *, each: int, tokens: int
) -> tuple[list[list[list[int]]], list[float]]:
    """The tokens of so many texts of each opening, and the mean entropy of what they were drawn from."""
    random, width = np.random.default_rng(0), engine.facts.vocab_size
    pair = [_begun(decoder, engine, openings, each) for decoder in (engine.decoder, base)]
    logits, written, entropies = [first for first, _ in pair], [], []
    for _ in range(tokens):
        mixture = steer(SHARPER * logits[0][:, :width], SHARPER * logits[1][:, :width], steering)
        p = sampling.probabilities(mixture)
        entropies.append(-(p * np.log(np.where(p > 0, p, 1))).sum(-1))
        written.append(sampling.draw(mixture, random.random(len(mixture))))
        logits = [rows.step(written[-1]) for _, rows in pair]
    texts = np.stack(written, 1).reshape(len(openings), each, tokens).tolist()
    return texts, np.mean(entropies, 0).reshape(len(openings), each).mean(1).tolist()


def _begun(decoder: Decoder, engine: Engine, openings: list[str], each: int) -> tuple[Any, Slots]:
    """So many rows of each opening, and the logits of what follows."""
    rows, logits = decoder.rows(), []
    for opening in openings:
        found, cache = decoder.step(np.array([engine.prompt_ids(opening)], np.int64), decoder.empty_cache(1))
        for _ in range(each):
            rows.join(cache)
            logits.append(found[0, -1])
    return np.stack(logits), rows


def test_a_steered_request_is_answered_with_the_text_of_the_command_and_says_how(server: Running, engine: Engine, base: Decoder) -> None:
    for given in STEERED:
        answer = server.text(PROMPT, max_tokens=30, seed=7, **given)
        assert answer["choices"][0]["text"] == write(engine, base, given, max_new_tokens=30, seed=7)
        assert {"strength": 1.0} | given == {name: answer["timbre"][name] for name in {"strength": 1.0} | given}
    plain = server.text(PROMPT, max_tokens=30, seed=7, strength=1)
    assert plain["choices"][0]["text"] == "".join(engine.stream(PROMPT, max_new_tokens=30, seed=7)) and "strength" not in plain["timbre"]


def test_steered_and_plain_texts_are_the_same_alone_and_beside_each_other(server: Running) -> None:
    asked = [(given, seed) for seed in range(4) for given in (*STEERED, {}, {"temperature": 0.7, "diversity": 0.3, "n": 2})]

    def texts(one: tuple[dict[str, Any], int]) -> list[str]:
        return [choice["text"] for choice in server.text(PROMPT, seed=one[1], max_tokens=40, **one[0])["choices"]]

    alone = [texts(one) for one in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        crowd = list(pool.map(texts, asked))
    assert crowd == alone and max(Counter(text for each in alone for text in each).values()) == 1


def test_where_the_base_model_is_not_to_be_had_only_steering_is_refused(promotions: Callable[..., Promotions]) -> None:
    with serving(promotions(base=False).home) as running:
        refused = running.post("/v1/completions", prompt=PROMPT, diversity=0.5)
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "no_base_model", refused.text
        assert running.text(PROMPT, max_tokens=4)["choices"]
        assert any("timbre stage trace" in str(line) for line in running.log)
    with serving(promotions().home, "--steering", "off") as running:
        refused = running.post("/v1/completions", prompt=PROMPT, strength=0.5)
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "no_steering", refused.text


def test_the_base_is_written_once_by_a_process_of_its_own(promotions: Callable[..., Promotions], tiny_parts: dict[str, Artifact]) -> None:
    place = promotions(base=False)
    store = ArtifactStore(place.home)
    for part in ("model", "decoder"):
        store.adopt(tiny_parts[part].path)
    with serving(place.home, "--steering", "start") as running:
        assert running.text(PROMPT, max_tokens=4, strength=0)["choices"]
    assert len([path for path in store.all() if path.parent.name == "base"]) == 1
