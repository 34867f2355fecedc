from pathlib import Path

import pytest
from sequence_inputs import SEQUENCE_CONFIG, Level
from training_inputs import make_training_inputs, training_config

from timbre.sequence.pool import STAGE as POOL
from timbre.sequence.stage import STAGE as SEQUENCE
from timbre.training.stage import train_adapter


@pytest.fixture(scope="session")
def level(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Level:
    given = make_training_inputs(tmp_path_factory.mktemp("sequence-home"), tiny_model_dir, tiny_corpus_texts)
    start = train_adapter(training_config(), given.target, given.corpus, given.model, given.replay, given.store)
    read = {"target": given.target, "corpus": given.corpus, "model": given.model, "adapter": start}
    completions = given.store.build(POOL, SEQUENCE_CONFIG.of_completions(), read)
    return Level(given, start, completions, given.store.build(SEQUENCE, SEQUENCE_CONFIG, {"completions": completions}))
