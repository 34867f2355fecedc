"""The human text that a version was tuned on, as serving needs it: read from the corpus in this home, and kept in memory alone.

read_spans(corpus, tokenizer)    the tokens of the training documents: what `no_repeat` keeps texts from reciting
read_critic(corpus)              rulers of their passages: how refinement tells how far a text is from the style
"""

from typing import TYPE_CHECKING

from timbre.artifacts import Artifact

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from timbre.inference.spans import Spans
    from timbre.metrics.critic import StyleCritic


def read_spans(corpus: Artifact, tokenizer: "Tokenizer") -> "Spans":
    """The training text's tokens under a bundle's tokenizer."""
    import numpy as np

    from timbre.corpus.documents import read_documents
    from timbre.inference.spans import Spans
    from timbre.models.tokens import backend_text_ids

    documents = read_documents(corpus, "train")
    return Spans(np.array([token for one in documents for token in (*backend_text_ids(one.text, tokenizer), -1)], np.int32))


def read_critic(corpus: Artifact) -> "StyleCritic":
    """How far a text is from the style.

    Raises:
        ValueError: the training text is too little for a ruler.
    """
    from timbre.corpus.documents import read_documents
    from timbre.metrics.critic import StyleCritic

    return StyleCritic.of([document.text for document in read_documents(corpus, "train")])
