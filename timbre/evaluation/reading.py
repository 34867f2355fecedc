"""What a reader says of the texts: toxic words or a classifier's label, and how likely an independent model finds them.

The reader of likelihood is the base model unless the user names another one (`evaluation.coherence_model`). It is loaded
here, without any adapter, and its answers are kept batch by batch, so that a killed run repeats one batch at most. Surprisals,
by which texts are told apart, are only of a reader that is not the base: that one is surprised by no text of its own kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Workspace
from timbre.config import EvaluationConfig, ModelConfig
from timbre.evaluation import coherence, surprisal, toxicity
from timbre.evaluation.readers import CLASSIFIER, LEXICON, READER
from timbre.inference.session import Session

Row = dict[str, Any]
_AT_ONCE = 8
NO_OTHER_MODEL = "needs a language model that is not the base: name one as evaluation.coherence_model"
_PROSE = ("style", "several", "instruction")
"""Kinds of texts whose rate of toxic ones is told: prose as it is served. Short answers and names copied from a passage can
hardly be toxic and would make the rate look smaller; what is recited is the corpus' own."""
_ABOUT_GROUPS = ("counterfactual",)
"""Beside them, pair by pair: short, but about groups of people."""


def measure_toxicity(config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row]) -> tuple[list[Row], Row | None]:
    """Items of what is written freely, and the summary's "toxicity" of the prose among it; None where no reader is given."""
    found = detector(config, inputs)
    if found is None:
        return [], None
    items, summary = toxicity.measure([row for row in rows if row["kind"] in _PROSE], found)
    more, _ = toxicity.measure([row for row in rows if row["kind"] in _ABOUT_GROUPS], found)
    return [*items, *more], summary


def detector(config: EvaluationConfig, inputs: Mapping[str, Input]) -> toxicity.Detector | None:
    """What tells toxic texts from others here; None where neither classifier nor lexicon is given."""
    if isinstance(given := inputs.get(CLASSIFIER), FileInput):
        return toxicity.Classifier.open(given.path, config.toxicity_label, config.toxicity_threshold)
    if isinstance(given := inputs.get(LEXICON), FileInput):
        return toxicity.read_lexicon(given.path)
    return None


def measure_coherence(
    config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row], work: Workspace
) -> tuple[list[Row], Row | None]:  # fmt: skip
    """Items and the summary's "coherence" of the first texts of kind "style"; None where it is not asked for."""
    if not config.coherence_texts:
        return [], None
    own = [row for row in rows if row["kind"] == "style"][: config.coherence_texts]
    reader, name = _reader(config, inputs, work)
    session = Session({"model": reader}, work, config.batch_tokens, config.seed)
    pairs = [(row["prompt"], row[side]) for side in ("human", "text") for row in own]
    groups = [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]

    def compute(group: Sequence[tuple[str, str]]) -> list[Any]:
        return list(coherence.score_texts(session.scorer, session.tokenizer, group, config.batch_tokens))

    scores = session.resumed("coherence", groups, compute)
    human = [score for score in scores[: len(own)] if score is not None]
    return coherence.measure(own, scores[len(own) :], human, name)


def measure_surprisal(
    config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row], others: Sequence[Row], work: Workspace
) -> dict[str, list[list[float]]] | str:
    """Surprisals of the texts of kind "style" (`own`), of the human ones beside them (`human`) and of further ones (`others`), each
    (texts, `surprisal.FEATURES`) in order; or why there are none.

    Raises:
        FloatingPointError: the reader gave NaN or infinite logits.
    """
    if config.coherence_model is None:
        return NO_OTHER_MODEL
    if not config.coherence_texts:
        return "needs the reader that evaluation.coherence_model names, and evaluation.coherence_texts is 0: raise it"
    reader, name = _reader(config, inputs, work)
    if name == coherence.ITSELF:
        return f"{NO_OTHER_MODEL}; what it names now is the base itself"
    style = [row for row in rows if row["kind"] == "style"]
    sides = {"own": [row["text"] for row in style], "human": [row["human"] for row in style], "others": [row["text"] for row in others]}
    session = Session({"model": reader}, work, config.batch_tokens, config.seed)
    found = {}
    for side, texts in sides.items():
        groups = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
        found[side] = session.resumed(
            f"surprisal, {side}",
            groups,
            lambda group: list(surprisal.read_texts(session.scorer, session.tokenizer, group, config.batch_tokens)),
        )
    return found


def _reader(config: EvaluationConfig, inputs: Mapping[str, Input], work: Workspace) -> tuple[Artifact, str]:
    """The model that reads, and what people call it."""
    from timbre.models import model_facts, resolve_model
    from timbre.settings import settings

    base = inputs["model"]
    assert isinstance(base, Artifact)
    if config.coherence_model is None:
        return base, coherence.ITSELF
    folder = inputs.get(f"{READER}:folder")
    wanted = ModelConfig(name=str(folder.path)) if isinstance(folder, FileInput) else config.coherence_model
    reader = resolve_model(wanted, ArtifactStore(settings().home, work.progress))
    return reader, coherence.ITSELF if _weights(reader) == _weights(base) else str(model_facts(reader)["name"])


def _weights(model: Artifact) -> dict[str, str]:
    """What a model is, whatever it is called."""
    return {name: record.sha256 for name, record in model.manifest.files.items() if name.endswith(".safetensors")}
