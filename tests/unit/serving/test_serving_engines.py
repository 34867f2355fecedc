"""Which form of a bundle is served: the fastest one that was found to keep the voice, named in a manifest; others by --precision."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.serving.conftest import Promotions, serving
from tests.unit.serving.test_serving_command import until
from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, canonical_json
from timbre.export.base import served_file as base_served_file
from timbre.export.quantised import LIMIT, Quantised, QuantisedConfig, resolve_quantised
from timbre.export.session import Decoder
from timbre.inference.steering import Steering
from timbre.serving.engine import Engine
from timbre.serving.engines import ENGINES, SERVED, EnginesConfig, ServedConfig, fastest, find_served, passing, resolve_served
from timbre.settings import PROJECT_ROOT

SMALL = EnginesConfig(texts=24, samples=2, prompt_tokens=8, new_tokens=8, passages=8, window=16, probes=12)
PROMPT = "Beyond the grey water, the old"
Forms = dict[str, Artifact]


@pytest.fixture(scope="module")
def forms(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore) -> Forms:
    made = {name: QuantisedConfig.model_validate({"bits": bits, "tokens": 300, "window": 40}) for name, bits in (("int8", 8), ("int4", 4))}
    return {name: resolve_quantised(config, tiny_bundle, tiny_parts["corpus"], tiny_store) for name, config in made.items()}


def test_what_rounded_weights_cost_is_measured_and_too_few_texts_make_no_default(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore, forms: Forms
) -> None:
    files = {"bias_probes": "data/probes/bias.jsonl", "fact_probes": "data/probes/facts.jsonl", "policy": "mlflow/policies/quick.toml"}
    inputs = {name: FileInput(PROJECT_ROOT / file) for name, file in files.items()}
    engines = tiny_store.build(ENGINES, SMALL, {"bundle": tiny_bundle, "corpus": tiny_parts["corpus"], **forms, **inputs})
    found, speed = engines.json("engines.json"), engines.json("speed.json")
    assert set(found) == {"int8", "int4"} and set(speed["ms_per_token"]) == {"fp32", "int8", "int4"}
    assert found["int8"]["kl"] < LIMIT
    for form in found.values():
        if form["kl"] > LIMIT:  # what is too far is not asked anything more
            assert form["why"] == [f"KL {form['kl']:.3g} nats a token, 0.02 is the most"] and not form["passes"]
            continue
        assert [each["metric"] for each in form["gates"]] == ["nll", "bias_gap", "fact_correct", "fact_margin"]
        assert 0 <= form["told_apart"]["characters"]["low"] <= form["told_apart"]["characters"]["high"]
        assert not form["passes"] and "told apart on 24 texts a side, 512 are the least" in form["why"]
    assert found["int8"]["gates"][0]["verdict"] == "PASS" and abs(found["int8"]["gates"][0]["mean"]) < 0.02
    rows = engines.json_lines("texts.jsonl")
    assert {row["precision"] for row in rows} >= {"fp32", "int8"} and len({row["text"] for row in rows}) > 40
    served = resolve_served(engines, tiny_bundle, forms, tiny_store)
    assert passing(engines) == ["fp32"] and served.manifest.config == {"default": "fp32"}
    assert find_served(tiny_bundle.digest, tiny_store) == served and find_served("0" * 64, tiny_store) is None


def test_what_a_killed_run_found_is_not_measured_again(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path, forms: Forms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbre.serving import rounding

    files = {"bias_probes": "data/probes/bias.jsonl", "fact_probes": "data/probes/facts.jsonl", "policy": "mlflow/policies/quick.toml"}
    inputs: dict[str, Input] = {name: FileInput(PROJECT_ROOT / file) for name, file in files.items()}
    inputs |= {"bundle": tiny_bundle, "corpus": tiny_parts["corpus"], **forms}
    store = ArtifactStore(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rounding, "told", killed)
        with pytest.raises(KeyboardInterrupt):
            store.build(ENGINES, SMALL, inputs)
    for name in ("likelihood", "probed"):
        monkeypatch.setattr(rounding, name, killed)
    monkeypatch.setattr(rounding.Reader, "write", killed)
    assert len(store.build(ENGINES, SMALL, inputs).json_lines("texts.jsonl")) >= 48


def evidence(store: ArtifactStore, make: Callable[..., Artifact], pace: dict[str, float], *passes: str) -> Artifact:
    def write(folder: Path) -> None:
        (folder / "engines.json").write_bytes(canonical_json({name: {"passes": name in passes} for name in ("int8", "int4")}))
        (folder / "speed.json").write_bytes(canonical_json({"ms_per_token": pace}))

    return make(store, "engines", SMALL.model_copy(update={"seed": len(passes)}), write)


def test_the_default_is_the_fastest_form_that_passes(tmp_path: Path, make_artifact: Callable[..., Artifact]) -> None:
    store, pace = ArtifactStore(tmp_path), {"fp32": 20.0, "int8": 9.0, "int4": 6.0}
    assert fastest(evidence(store, make_artifact, pace)) == "fp32"
    assert fastest(evidence(store, make_artifact, pace, "int8")) == "int8"
    assert fastest(evidence(store, make_artifact, pace, "int8", "int4")) == "int4"


def test_serve_takes_the_form_that_the_manifest_names_and_any_other_that_is_asked_for(
    promotions: Callable[[], Promotions], forms: Forms, tiny_bundle: Artifact, make_artifact: Callable[..., Artifact]
) -> None:
    place = promotions()
    store = ArtifactStore(place.home)
    for form in forms.values():
        store.adopt(form.path)
    engines = evidence(store, make_artifact, {"fp32": 20.0, "int8": 9.0, "int4": 6.0}, "int8")
    store.build(SERVED, ServedConfig(default="int8"), {"bundle": tiny_bundle, "engines": engines, **forms})

    def written(engine: Engine) -> str:
        return "".join(engine.stream(PROMPT, max_new_tokens=60, seed=3))

    expected = {"fp32": written(Engine.of(tiny_bundle)), "int8": written(Engine.of(tiny_bundle, forms["int8"].file("model.onnx")))}
    assert expected["fp32"] != expected["int8"]
    for options, precision in (((), "int8"), (("--precision", "fp32"), "fp32"), (("--precision", "int8"), "int8")):
        with serving(place.home, *options) as server:
            first = server.text(PROMPT, max_tokens=60, seed=3)["choices"][0]["text"]
            assert first == server.text(PROMPT, max_tokens=60, seed=3)["choices"][0]["text"]
            assert server.get("/v1/models").json()["data"][0]["timbre"]["precision"] == precision


def test_a_rounded_version_is_mixed_with_a_base_that_is_rounded_alike_where_that_was_made(
    promotions: Callable[[], Promotions], forms: Forms, tiny_bundle: Artifact, tiny_base: Artifact, tiny_parts: dict[str, Artifact],
    make_artifact: Callable[..., Artifact],
) -> None:  # fmt: skip
    place = promotions()
    store = ArtifactStore(place.home)
    for part in (*forms.values(), tiny_base, *(tiny_parts[name] for name in ("corpus", "model", "decoder"))):
        store.adopt(part.path)
    engines = evidence(store, make_artifact, {"fp32": 20.0, "int8": 9.0, "int4": 6.0}, "int8")
    store.build(SERVED, ServedConfig(default="int8"), {"bundle": tiny_bundle, "engines": engines, **forms})

    def steered(*options: str) -> str:
        with serving(place.home, *options) as server:
            return str(server.text(PROMPT, max_tokens=60, seed=3, strength=0.5)["choices"][0]["text"])

    def written(version: Engine, base: Path) -> str:
        return "".join(version.stream(PROMPT, max_new_tokens=60, seed=3, steering=Steering(strength=0.5), base=Decoder.open(base)))

    version = Engine.of(tiny_bundle, forms["int8"].file("model.onnx"))
    exact = base_served_file(tiny_base)
    assert steered() == written(version, exact)
    config = QuantisedConfig(bits=8, tokens=300, window=40)
    rounded = resolve_quantised(config, tiny_bundle, tiny_parts["corpus"], store, tiny_base)
    assert 0 < Quantised.read(rounded).kl < LIMIT
    assert steered() == written(version, rounded.file("model.onnx")) != written(version, exact)
    assert steered("--precision", "fp32") == written(Engine.of(tiny_bundle), exact)


def test_a_later_version_is_mixed_with_its_own_base_without_a_restart(
    promotions: Callable[[], Promotions], forms: Forms, tiny_bundle: Artifact, other_bundle: Artifact, tiny_base: Artifact,
    tiny_parts: dict[str, Artifact], make_artifact: Callable[..., Artifact],
) -> None:  # fmt: skip
    """Nobody rounded the base beside version 1, so that it is mixed with fp32; beside version 2 somebody did."""
    place = promotions()
    store = ArtifactStore(place.home)
    config = QuantisedConfig(bits=8, tokens=300, window=40)
    for part in (other_bundle, forms["int8"], tiny_base, *(tiny_parts[name] for name in ("corpus", "model", "decoder"))):
        store.adopt(part.path)
    second = resolve_quantised(config, other_bundle, tiny_parts["corpus"], store)
    rounded = resolve_quantised(config, other_bundle, tiny_parts["corpus"], store, tiny_base)
    engines = evidence(store, make_artifact, {"fp32": 20.0, "int8": 9.0, "int4": 6.0}, "int8")
    for bundle, form in ((tiny_bundle, forms["int8"]), (other_bundle, second)):
        store.build(SERVED, ServedConfig(default="int8"), {"bundle": bundle, "engines": engines, "int8": form})

    def written(bundle: Artifact, form: Artifact, base: Path) -> str:
        version, steering = Engine.of(bundle, form.file("model.onnx")), Steering(strength=0.5)
        return "".join(version.stream(PROMPT, max_new_tokens=60, seed=3, steering=steering, base=Decoder.open(base)))

    exact = base_served_file(tiny_base)
    with serving(place.home) as server:

        def steered() -> str:
            return str(server.text(PROMPT, max_tokens=60, seed=3, strength=0.5)["choices"][0]["text"])

        assert steered() == written(tiny_bundle, forms["int8"], exact)
        place.promote(2)
        until(lambda: server.text(PROMPT, max_tokens=1)["timbre"]["version"] == 2)
        assert steered() == written(other_bundle, second, rounded.file("model.onnx")) != written(other_bundle, second, exact)
