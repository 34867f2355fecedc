"""The tiny model's tokenizer, with and without its chat template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model_dir: Path) -> Callable[..., Any]:
    """`tiny_tokenizer(chat=True)`"""
    from transformers import AutoTokenizer

    def load(chat: bool = True) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(str(tiny_model_dir))
        if not chat:
            tokenizer.chat_template = None
        return tokenizer

    return load
