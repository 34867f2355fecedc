"""What steps read besides the artifacts of earlier steps: files under version control, sources, other corpora.

All functions take a release and give input name -> input, as the key of the step names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timbre.artifacts import Input
    from timbre.config import ReleaseConfig


def model(config: ReleaseConfig) -> dict[str, Input]:
    """The files of a model folder, or the package of the default model."""
    from timbre.models import model_inputs

    return dict(model_inputs(config.model))


def corpus(config: ReleaseConfig) -> dict[str, Input]:
    """The sources of the style."""
    from timbre.corpus.stage import corpus_inputs

    return dict(corpus_inputs(config.corpus))


def target(config: ReleaseConfig) -> dict[str, Input]:
    """The principles and swaps that shape the target."""
    from timbre.targets.stage import target_inputs

    return target_inputs(config.target.of_tokens())


def replay(config: ReleaseConfig) -> dict[str, Input]:
    """The facts and instructions of the accuracy term, and the refusals where they are practised."""
    files = {"replay": "data/replay/replay.jsonl"} | ({"refusals": "data/replay/refusals.jsonl"} if config.training.refusals else {})
    return {name: _file(_shipped(file)) for name, file in files.items()}


def probes(_: ReleaseConfig) -> dict[str, Input]:
    """The paired probes of bias and of facts."""
    files = {"bias_probes": "data/probes/bias.jsonl", "fact_probes": "data/probes/facts.jsonl"}
    return {name: _file(_shipped(file)) for name, file in files.items()}


def measuring(config: ReleaseConfig) -> dict[str, Input]:
    """The probes, and who reads the texts: lexicon, classifier, model."""
    from timbre.evaluation.readers import evaluation_inputs

    return probes(config) | evaluation_inputs(config.evaluation, _shipped("data/lexicons"))


def prompts(config: ReleaseConfig) -> dict[str, Input]:
    """Files of the prompt sets that are asked for, and corpora that voice is told apart from; what is left out is in no key."""
    evaluation = config.evaluation
    files: dict[str, Input] = {}
    if evaluation.instruction_prompts:
        files["instructions"] = _file(instructions_path(config.style))
    if evaluation.counterfactual_templates:
        files["counterfactual"] = _file(_shipped("data/prompts/bias/counterfactual.jsonl"))
    if evaluation.closed_book_questions:
        files["questions"] = _file(_shipped("data/prompts/factuality/closed_book.jsonl"))
    if evaluation.copying_passages:
        files["passages"] = _file(_shipped("data/prompts/factuality/passages.jsonl"))
    return files | _voices(config)


def misuse(config: ReleaseConfig) -> dict[str, Input]:
    """The requests, the marks of help and refusal, and the lexicon that the evaluation reads with, where it has one."""
    files = {"requests": "data/prompts/misuse/requests.jsonl", "compliance": "data/lexicons/compliance.toml"}
    if config.evaluation.lexicon:
        files["lexicon"] = f"data/lexicons/{config.evaluation.lexicon}.toml"
    return {name: _file(_shipped(file)) for name, file in files.items()}


def policy(config: ReleaseConfig) -> dict[str, Input]:
    """The gate policy."""
    return {"policy": _file(policy_path(config.gate.policy))}


def instructions_path(style: str) -> Path:
    """The file of short tasks of a style; one for any style where it has none of its own."""
    own = _shipped(f"data/prompts/{style}.jsonl")
    return own if own.is_file() else _shipped("data/prompts/any-style.jsonl")


def policy_path(name: str) -> Path:
    """The file of a gate policy.

    Raises:
        ValueError: there is none of that name; the sentence lists those that exist.
    """
    from timbre.settings import settings

    policies = settings().files("mlflow/policies")
    if name not in policies:
        raise ValueError(f"unknown policy {name!r}: choose one of {', '.join(policies)}, or write mlflow/policies/{name}.toml")
    return policies[name]


def _voices(config: ReleaseConfig) -> dict[str, Input]:
    """The corpora of the styles that voice is told apart from, as they stand here."""
    from timbre.artifacts import ArtifactStore
    from timbre.config import ReleaseConfig
    from timbre.corpus.stage import STAGE, corpus_inputs
    from timbre.settings import settings

    found: dict[str, Input] = {}
    for style in config.evaluation.voice_against:
        section = ReleaseConfig(style=style).corpus
        artifact = ArtifactStore(settings().home).find(STAGE.name, STAGE.key(section, corpus_inputs(section)))
        if style == config.style or artifact is None:
            why = "is this style" if style == config.style else f"has no corpus here: `timbre run --style {style}` builds one"
            raise ValueError(f"evaluation.voice_against names {style}, which {why}; or leave it out")
        found[f"voice_{style}"] = artifact
    return found


def _shipped(name: str) -> Path:
    """A file of the project, or the one that ships where it has none."""
    from timbre.settings import settings

    return settings().file(name)


def _file(path: Path) -> Input:
    from timbre.artifacts import FileInput

    return FileInput(path)
