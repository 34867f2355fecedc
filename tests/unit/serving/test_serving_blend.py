"""Two champions as one voice: torch's numbers, the command's text, and what a server says of it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.unit.serving.conftest import Promotions, Running, serving
from timbre.artifacts import Artifact
from timbre.inference import sampling
from timbre.inference.steering import Steering, blended
from timbre.serving.engine import Engine

PROMPT = "Beyond the grey water, the old"


@pytest.fixture(scope="module")
def engines(tiny_bundle: Artifact, other_bundle: Artifact) -> tuple[Engine, Engine]:
    return Engine.open(tiny_bundle.path), Engine.open(other_bundle.path)


@pytest.fixture(scope="module")
def both(promotions: Callable[..., Promotions]) -> Iterator[Running]:
    """A server of two styles: version 1 of `literary`, version 2 of `oratory`."""
    place = promotions()
    place.promote(2, "timbre-oratory")
    with serving(place.home, "--style", "literary", "--style", "oratory") as running:
        yield running


def test_onnx_and_torch_agree_on_two_blended_adapters(
    tiny_parts: dict[str, Artifact], tiny_bundle: Artifact, other_bundle: Artifact, engines: tuple[Engine, Engine]
) -> None:
    import torch

    from timbre.artifacts import ArtifactStore
    from timbre.export.merge import merged_model

    store, width = ArtifactStore(tiny_bundle.path.parents[2]), engines[0].facts.vocab_size
    ids = np.array([engines[0].prompt_ids(PROMPT)], np.int64)
    served = [one.decoder.step(ids, one.decoder.empty_cache(1))[0][0, :, :width] for one in engines]
    with torch.inference_mode():
        adapters = [store.open("adapter", bundle.manifest.inputs["adapter"]) for bundle in (tiny_bundle, other_bundle)]
        models = [merged_model(tiny_parts["model"], adapter) for adapter in adapters]
        trained = [model(torch.tensor(ids)).logits[0, :, :width] for model in models]  # type: ignore[operator]
    ours, theirs = (sampling.probabilities(blended(pair, [0.6, 0.4])) for pair in (served, trained))
    assert np.abs(ours - theirs.numpy()).max() < 1e-5
    alone = sampling.probabilities(served[0])
    assert np.abs(ours - alone).max() > 1e-3  # the other adapter is there to be seen


def test_a_blended_request_has_the_text_of_the_engine_and_says_whose_voices_it_is(both: Running, engines: tuple[Engine, Engine]) -> None:
    one, other = engines
    expected = "".join(one.stream(PROMPT, max_new_tokens=30, seed=7, blend=[(other.decoder, 0.4)]))
    answer = both.text(PROMPT, style="literary", max_tokens=30, seed=7, blend={"oratory": 0.4})
    assert answer["choices"][0]["text"] == expected and answer["timbre"]["blend"] == {"oratory": {"version": 2, "share": 0.4}}
    assert expected != "".join(one.stream(PROMPT, max_new_tokens=30, seed=7))
    whole = both.text(PROMPT, style="literary", max_tokens=30, seed=7, blend={"oratory": 1.0})["choices"][0]["text"]
    assert whole == "".join(other.stream(PROMPT, max_new_tokens=30, seed=7))
    plain = both.text(PROMPT, style="literary", max_tokens=30, seed=7)
    assert "blend" not in plain["timbre"]


def test_blended_steered_and_plain_texts_share_a_batch(both: Running, engines: tuple[Engine, Engine]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked = [{"blend": {"oratory": 0.4}}, {"blend": {"oratory": 0.4}, "strength": 0.5}, {}, {"diversity": 0.2}, {"blend": {"oratory": 0.9}}]

    def text(given: dict[str, object]) -> str:
        return str(both.text(PROMPT, style="literary", seed=3, max_tokens=40, **given)["choices"][0]["text"])

    alone = [text(given) for given in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(text, asked)) == alone and len(set(alone)) == len(alone)


@pytest.mark.parametrize(
    ("blend", "status"),
    [
        ({"letters": 0.4}, 404),
        ({"literary": 0.4}, 400),
        ({"oratory": 1.4}, 400),
        ({"oratory": 0}, 400),
        ({"oratory": "half"}, 400),
        ([], 400),
    ],
)
def test_a_blend_that_cannot_be_is_refused(both: Running, blend: object, status: int) -> None:
    refused = both.post("/v1/completions", prompt=PROMPT, style="literary", blend=blend)
    assert refused.status_code == status and refused.json()["error"]["param"].startswith("blend"), refused.text


def test_strength_and_diversity_steer_the_blend(engines: tuple[Engine, Engine], tiny_base: Artifact) -> None:
    from timbre.export.base import served_file
    from timbre.export.session import Decoder

    (one, other), base = engines, Decoder.open(served_file(tiny_base))
    blend = [(other.decoder, 0.4)]
    none = "".join(one.stream(PROMPT, max_new_tokens=20, seed=1, steering=Steering(strength=0), base=base, blend=blend))
    assert none == "".join(one.stream(PROMPT, max_new_tokens=20, seed=1, steering=Steering(strength=0), base=base))
