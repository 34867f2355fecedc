from pathlib import Path

import pytest
from training_inputs import TrainingInputs, make_training_inputs, training_passages

from timbre.store import TargetReader
from timbre.training.data import Example


@pytest.fixture(scope="session")
def training_inputs(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> TrainingInputs:
    return make_training_inputs(tmp_path_factory.mktemp("training-home"), tiny_model_dir, tiny_corpus_texts)


@pytest.fixture(scope="session")
def examples(training_inputs: TrainingInputs) -> list[Example]:
    return [Example.of_row(row) for row in TargetReader(training_inputs.target.path)]


@pytest.fixture(scope="session")
def held_out(training_inputs: TrainingInputs) -> list[Example]:
    return [Example.of_passage(passage) for passage in training_passages(training_inputs.model, training_inputs.corpus, "validation")]
