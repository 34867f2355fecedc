"""A registered version written out for other programs: a Hugging Face folder, the ONNX bundle, or an MLflow model."""

import shutil
from pathlib import Path
from typing import Literal

from timbre.config import ModelConfig
from timbre.staging import staging
from timbre.tasks.bundles import Served, artifact_of, bundle_of, find_version

Format = Literal["hf", "onnx", "mlflow"]


def export_version(style: str, model: ModelConfig, number: int | None, form: Format, folder: Path) -> Served:
    """Write a version, or the champion, into a new folder; it is there whole or not at all.

    Raises:
        ValueError: the folder holds something, there is no such version, or its parts are not on this machine.
        IntegrityError: a part is damaged.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder: name a new one, nothing is written over")
    served = bundle_of(style, model, number)
    target = folder.absolute()
    with staging(target.parent, target.name) as place:
        _WRITERS[form](served, place)
        place.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        place.rename(target)
    return served


def _write_onnx(served: Served, folder: Path) -> None:
    shutil.copytree(served.artifact.path, folder, dirs_exist_ok=True)


def _write_mlflow(served: Served, folder: Path) -> None:
    from timbre.tasks.stores.pyfunc import DATA, write_mlmodel

    shutil.copytree(served.artifact.path, folder / DATA)
    write_mlmodel(folder)


def _write_huggingface(served: Served, folder: Path) -> None:
    from timbre.export.huggingface import write_huggingface

    version = find_version(served.model, served.version)
    model, adapter, corpus = (artifact_of(version, step) for step in ("model", "adapter", "corpus"))
    write_huggingface(model, adapter, corpus, served.artifact, folder)


_WRITERS = {"hf": _write_huggingface, "onnx": _write_onnx, "mlflow": _write_mlflow}
