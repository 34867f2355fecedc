"""Several texts for one prompt: how many different ones are there really?"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from timbre.metrics.encoder import Encoder
from timbre.words import words

_SAME = 0.5


def distinct_k(texts: Sequence[str], same: float = _SAME) -> int:
    """Number of different answers among k, after NoveltyBench (2504.05228): each text joins the first class it resembles.

    That paper asks a trained classifier what is the same; here two texts are the same if they share half of their word
    types or more (Jaccard), which needs no model and holds for any language. 1 = all alike, k = all different.
    """
    classes: list[set[str]] = []
    for text in texts:
        bag = set(words(text))
        if not any(len(bag & other) >= same * len(bag | other) for other in classes):
            classes.append(bag)
    return len(classes)


def vendi(vectors_ND: np.ndarray) -> float:
    """Vendi score (2210.02410): exp of the entropy of the eigenvalues of K/n, K the cosine similarities; 1 to n."""
    norms_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit_ND = vectors_ND / np.where(norms_N > 0, norms_N, 1.0)
    similarity_NN = unit_ND @ unit_ND.T
    np.fill_diagonal(similarity_NN, 1.0)  # a text without words is like itself too
    weights = np.maximum(np.linalg.eigvalsh(similarity_NN / len(vectors_ND)), 0.0)
    weights = weights[weights > 1e-12] / weights.sum()
    return float(np.exp(-(weights * np.log(weights)).sum()))


def diversity(texts: Sequence[str], encoder: Encoder | None) -> dict[str, float]:
    """Both figures of the texts of one prompt; likeness by the encoder's vectors, or by shared words where there is none."""
    vectors_ND = encoder(texts) if encoder is not None else word_vectors(texts)
    return {"distinct_k": float(distinct_k(texts)), "vendi": vendi(vectors_ND)}


def word_vectors(texts: Sequence[str]) -> np.ndarray:
    """Word counts (texts, word types): similarity where no encoder is at hand."""
    bags = [Counter(words(text)) for text in texts]
    number = {word: index for index, word in enumerate(dict.fromkeys(word for bag in bags for word in bag))}
    vectors = np.zeros((len(texts), max(len(number), 1)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            vectors[row, number[word]] = count
    return vectors
