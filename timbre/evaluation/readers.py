"""Who reads the texts that are measured, as inputs of the stage: lexicon, classifier, model. Nothing heavy is imported here."""

from pathlib import Path
from typing import Any

from timbre.artifacts import FileInput, Input
from timbre.config import EvaluationConfig

LEXICON, CLASSIFIER, READER = "lexicon", "toxicity_classifier", "coherence_model"


def evaluation_inputs(config: EvaluationConfig, lexicons: Path) -> dict[str, Input]:
    """What the measuring reads besides artifacts and probes: the lexicon, and the folders of models that the user names.

    Raises:
        ValueError: no such lexicon, or a folder without a usable model.
    """
    from timbre.models import model_inputs
    from timbre.models.folder import ModelFolder, model_files

    inputs: dict[str, Input] = {}
    if config.toxicity_classifier:
        folder = Path(config.toxicity_classifier).expanduser()
        model_files(folder)
        inputs[CLASSIFIER] = ModelFolder(folder)
    elif config.lexicon:
        path = lexicons / f"{config.lexicon}.toml"
        if not path.is_file():
            known = ", ".join(sorted(entry.stem for entry in lexicons.glob("*.toml")))
            raise ValueError(f"unknown lexicon {config.lexicon!r}: choose one of {known}, or write {path.name} beside them")
        inputs[LEXICON] = FileInput(path)
    if config.coherence_texts and config.coherence_model is not None:
        inputs |= {f"{READER}:{name}": value for name, value in model_inputs(config.coherence_model).items()}
    return inputs


def canonical_readers(config: EvaluationConfig) -> EvaluationConfig:
    """The configuration as the stage's key holds it: folders go by their own name; what is in them stands in their digest."""
    from timbre.models import canonical

    changes: dict[str, Any] = {}
    if config.toxicity_classifier:
        changes["toxicity_classifier"] = Path(config.toxicity_classifier).expanduser().resolve().name
    if config.coherence_model is not None:
        changes["coherence_model"] = canonical(config.coherence_model)
    return config.model_copy(update=changes)
