from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from training_inputs import TrainingInputs, make_training_inputs, training_config

from timbre.artifacts import Artifact, Input
from timbre.config import SequenceConfig
from timbre.sequence.pool import STAGE as POOL
from timbre.sequence.stage import STAGE as SEQUENCE
from timbre.training.stage import train_adapter

SEQUENCE_CONFIG = SequenceConfig(
    prompts=40, completions=3, prompt_tokens=8, new_tokens=24, epochs=1, batch_tokens=1200, completions_a_step=4
)


@dataclass(frozen=True)
class Level:
    """A tiny model tuned on tokens, its completions, and their weights."""

    inputs: TrainingInputs
    start: Artifact
    completions: Artifact
    sequence: Artifact

    @property
    def read(self) -> Mapping[str, Input]:
        """What the completions are made from."""
        return {"target": self.inputs.target, "corpus": self.inputs.corpus, "model": self.inputs.model, "adapter": self.start}


@pytest.fixture(scope="session")
def level(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Level:
    given = make_training_inputs(tmp_path_factory.mktemp("sequence-home"), tiny_model_dir, tiny_corpus_texts)
    start = train_adapter(training_config(), given.target, given.corpus, given.model, given.replay, given.store)
    read = {"target": given.target, "corpus": given.corpus, "model": given.model, "adapter": start}
    completions = given.store.build(POOL, SEQUENCE_CONFIG.of_completions(), read)
    return Level(given, start, completions, given.store.build(SEQUENCE, SEQUENCE_CONFIG, {"completions": completions}))
