"""A registered version is an MLflow model: whoever knows MLflow and not Timbre loads it by its alias and gets text."""

from pathlib import Path

import pytest

from timbre.artifacts import Artifact, IntegrityError
from timbre.serving.engine import Engine
from timbre.serving.pyfunc import Continuations
from timbre.settings import Settings
from timbre.tasks.stores.mlflow import MlflowStore
from timbre.tasks.stores.pyfunc import EXAMPLE

NAME = "timbre-tiny"
PROMPTS = ["Beyond the grey water, the old", "It was"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _address(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that somebody else has to know: where the registry is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)


@pytest.fixture(scope="module")
def store(settings: Settings, tiny_bundle: Artifact) -> MlflowStore:
    store = MlflowStore.open(settings)
    run = store.run_for("k", "tiny", "one", {})
    version = store.register(NAME, tiny_bundle.path, {"timbre.verdict": "v" * 64, "timbre.bundle": tiny_bundle.digest, "timbre.run": run})
    store.set_alias(NAME, "champion", version.number)
    return store


def test_the_champion_is_loaded_by_its_alias_and_writes_as_the_engine_does(store: MlflowStore, tiny_bundle: Artifact) -> None:
    import pandas as pd

    import mlflow

    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    engine = Engine.open(tiny_bundle.path)
    expected = ["".join(engine.stream(prompt, max_new_tokens=9, seed=3)) for prompt in PROMPTS]
    params = {"max_new_tokens": 9, "seed": 3}
    assert list(loaded.predict(pd.DataFrame({"prompt": PROMPTS}), params=params)) == expected
    assert list(loaded.predict(PROMPTS, params=params)) == expected
    assert all(isinstance(text, str) for text in loaded.predict(pd.DataFrame({"prompt": PROMPTS[:1]})))


def test_it_says_what_it_takes_and_gives_an_example(store: MlflowStore, tiny_bundle: Artifact) -> None:
    import mlflow

    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    signature = loaded.metadata.signature
    assert len(signature.inputs.inputs) == 1 and len(signature.outputs.inputs) == 1
    assert {param.name for param in signature.params} == {"max_new_tokens", "seed"}
    assert loaded.metadata.flavors["python_function"]["loader_module"] == "timbre.serving.pyfunc"
    example = loaded.input_example
    assert list(example["prompt"]) == EXAMPLE["prompt"]
    with pytest.raises(ValueError, match="unknown parameter 'speed'"):
        Continuations(Engine.open(tiny_bundle.path)).predict(["It was"], {"speed": 1})
    with pytest.raises(ValueError, match="a column 'prompt', found a, b"):
        Continuations(Engine.open(tiny_bundle.path)).predict({"a": ["It was"], "b": [1]})


def test_the_bundle_comes_back_whole_from_mlflow(store: MlflowStore, tiny_bundle: Artifact, tmp_path: Path) -> None:
    (version,) = store.versions(NAME)
    assert Artifact.open(store.download(version, tmp_path)).digest == tiny_bundle.digest


def test_a_changed_bundle_is_not_loaded(store: MlflowStore) -> None:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion"))
    file = folder / "bundle" / "bundle.json"
    content = file.read_text()
    try:
        file.write_text(content.replace('"context"', '"kontext"'))
        with pytest.raises(IntegrityError):
            mlflow.pyfunc.load_model(str(folder))
    finally:
        file.write_text(content)
