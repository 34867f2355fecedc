from pathlib import Path

import pytest
from training_inputs import TrainingInputs, make_training_inputs


@pytest.fixture(scope="session")
def training_inputs(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> TrainingInputs:
    return make_training_inputs(tmp_path_factory.mktemp("training-home"), tiny_model_dir, tiny_corpus_texts)
