"""`timbre export`: a registered version, written out in each form, whole or not at all."""

from pathlib import Path

from typer.testing import CliRunner

from tests.unit.conftest import EXPORT, adapter_artifact, corpus_artifact, model_artifact
from timbre.config import ModelConfig


def test_a_registered_version_is_written_in_every_form(
    home: Path, tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    import mlflow
    from tests.building import export_bundle
    from timbre.cli import app
    from timbre.export.trace import resolve_decoder
    from timbre.settings import settings
    from timbre.tasks.context import open_store
    from timbre.tasks.stores.mlflow import MlflowStore

    store = open_store()
    model, corpus = model_artifact(store, tiny_model_dir), corpus_artifact(store, tiny_corpus_texts)
    adapter = adapter_artifact(store, model)
    bundle = export_bundle(EXPORT, model, adapter, corpus, resolve_decoder(ModelConfig(name="tiny"), model, store), store)
    registry = MlflowStore.open(settings())
    tags = {"timbre.model": model.digest, "timbre.adapter": adapter.digest, "timbre.corpus": corpus.digest, "timbre.bundle": bundle.digest}
    run = registry.run_for("k", "literary", "one", {})
    registry.register("timbre-literary", bundle.path, tags | {"timbre.verdict": "v" * 64, "timbre.run": run})

    for form, file in {"hf": "model.safetensors", "onnx": "model.onnx", "mlflow": "MLmodel"}.items():
        done = CliRunner().invoke(app, ["export", str(tmp_path / form), "--format", form, "--version", "1"])
        assert done.exit_code == 0 and "timbre-literary v1" in done.output and (tmp_path / form / file).is_file()
    (text,) = mlflow.pyfunc.load_model(str(tmp_path / "mlflow")).predict(["It was"], params={"max_new_tokens": 5})
    assert isinstance(text, str) and text
    again = CliRunner().invoke(app, ["export", str(tmp_path / "hf"), "--version", "1"])
    assert isinstance(again.exception, ValueError) and "nothing is written over" in str(again.exception)
