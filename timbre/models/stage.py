"""The stage "model": whatever names a base model becomes one checked artifact that all other stages read.

A model is the packaged default, a local folder, or a name on a model hub with the commit that fixes it.
"""

import errno
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, write_atomically
from timbre.config import ModelConfig
from timbre.models import packaged
from timbre.models.folder import CONFIG, PATTERNS, ModelFolder, check_config, check_plain, licence_of, model_files, take_weights
from timbre.settings import settings

FACTS = "model.json"


def resolve_model(config: ModelConfig, store: ArtifactStore) -> Artifact:
    """The artifact of a base model, found or built.

    Raises:
        ValueError: no such model, or one that cannot be used; the sentence says why.
        IntegrityError: a download or the stored artifact is damaged.
    """
    return store.build(STAGE, canonical(config), model_inputs(config))


def canonical(config: ModelConfig) -> ModelConfig:
    """The configuration as the stage's key holds it: a folder goes by its own name, however its path was typed.

    What is in the folder stands in its digest (`model_inputs`).
    """
    folder = _folder(config)
    return config if folder is None else config.model_copy(update={"name": folder.resolve().name})


def base_name(config: ModelConfig) -> str | None:
    """What tells this base from others in the names of registered models; None for the packaged default.

    A hub model goes by owner and name. A folder goes by its own name and the first digits of its content's digest, so
    that one folder has one name however its path is typed, and two folders of one name have two.

    Raises:
        ValueError: as `model_inputs`, but for the commit of a hub model, which is not asked for here.
    """
    if config.name == packaged.NAME:
        return None
    folder = _folder(config)
    if folder is None:
        _check_hub_name(config)
        return _plain(config.name.replace("/", "--"))
    return f"{_plain(folder.resolve().name)}-{ModelFolder(folder).digest[:8]}"


def model_inputs(config: ModelConfig) -> dict[str, Input]:
    """The model folder, if the model is one; a packaged or hub model is fixed by its configuration alone.

    Raises:
        ValueError: a path without a folder, a folder without a model, or a hub name without a commit.
    """
    if config.name == packaged.NAME:
        return {}
    if (folder := _folder(config)) is not None:
        model_files(folder)
        check_plain(folder)
        return {"folder": ModelFolder(folder)}
    _check_hub_name(config)
    if config.revision is None or not re.fullmatch(r"[0-9a-f]{40}", config.revision):
        raise ValueError(f"the hub model {config.name} needs model.revision, its 40-digit commit: the same name is then the same model")
    return {}


def _folder(config: ModelConfig) -> Path | None:
    """The folder that the name means, if there is one; the packaged name never means a folder.

    A relative one begins where the command was started, also in the processes that it starts elsewhere.
    """
    folder = (settings().start or Path()) / Path(config.name).expanduser()
    return folder if config.name != packaged.NAME and folder.is_dir() else None


def _check_hub_name(config: ModelConfig) -> None:
    path = Path(config.name).expanduser()
    if path.is_file() or path.is_absolute() or config.name.startswith((".", "~")) or config.name.count("/") != 1:
        raise ValueError(f"unknown model {config.name!r}: give {packaged.NAME!r}, an existing model folder, or OWNER/NAME on a hub")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower())


def model_facts(model: Artifact) -> dict[str, Any]:
    """`model.json`: name, architecture, parameters, vocab_size, embedding_rows, context, licence, tokenizer_digest,
    start_token_ids, source.

    `vocab_size` is the tokenizer's largest id and one; rows of the embedding beyond it are padding. `start_token_ids` stand before
    every text (`timbre.models.tokens`).
    """
    facts: dict[str, Any] = model.json(FACTS)
    return facts


def _build(config: ModelConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.models.inspection import inspect_model
    from timbre.models.loading import save_tokenizer
    from timbre.models.rehearsal import rehearse

    folder, name, source = _locate(config, inputs, workspace)
    if source != packaged.SOURCE:
        rehearse(folder)
    take_weights(folder, workspace.output)
    save_tokenizer(folder, workspace.output)
    licence = packaged.LICENCE if source == packaged.SOURCE else licence_of(folder)
    facts = inspect_model(workspace.output) | {"name": name, "source": source, "licence": licence}
    write_atomically(workspace.output / FACTS, json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n")


def _locate(config: ModelConfig, inputs: Mapping[str, Input], workspace: Workspace) -> tuple[Path, str, str]:
    """Folder, short name and source."""
    if "folder" in inputs:
        given = inputs["folder"]
        assert isinstance(given, ModelFolder), "the input 'folder' is a model folder"
        name = given.path.resolve().name
        return given.path, name, f"folder {name}"
    if config.name == packaged.NAME:
        return packaged.convert(workspace.scratch), packaged.NAME, packaged.SOURCE
    return _from_hub(config), config.name.rpartition("/")[2], f"hub {config.name}@{config.revision}"


def _from_hub(config: ModelConfig) -> Path:
    about = _fetched(config, (CONFIG,))
    if (about / CONFIG).is_file():
        check_config(about)  # before gigabytes are fetched
    folder = _fetched(config, PATTERNS)
    model_files(folder)
    return folder


def _fetched(config: ModelConfig, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            config.name, revision=config.revision, allow_patterns=list(patterns), cache_dir=settings().downloads / "hub"
        )
    except Exception as error:  # of the hub, of HTTP, of the network
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"the hub model {config.name} is not in downloads and could not be fetched ({type(error).__name__}): check the name, "
            "go online and unset HF_HUB_OFFLINE, or give a local folder"
        ) from error
    return Path(folder)


STAGE: Stage[ModelConfig] = Stage("model", 2, _build)
