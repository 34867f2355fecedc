"""A tiny model at the sequence level, for the tests of this room."""

from collections.abc import Mapping
from dataclasses import dataclass

from training_inputs import TrainingInputs

from timbre.artifacts import Artifact, Input
from timbre.config import SequenceConfig

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
