"""What metrics of content need: something that turns texts into vectors. `timbre.inference.embeddings` has one."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Encoder(Protocol):
    """Texts in, one vector each out."""

    name: str

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (texts, dimensions); the same text always gives the same vector."""
        ...
