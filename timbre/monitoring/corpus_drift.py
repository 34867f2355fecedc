"""The newest hand-in beside the corpus that the champion was made of: are its new documents of another kind?"""

from timbre.artifacts import Artifact
from timbre.corpus.documents import Document, read_documents
from timbre.metrics.comparison import Request, compare_texts
from timbre.metrics.encoder import Encoder
from timbre.metrics.texts import Text
from timbre.monitoring.champion import apart
from timbre.monitoring.findings import Check, MonitorPolicy, not_measured

_WORDS = 100


def corpus_drift(learnt: Artifact, newest: Artifact | None, policy: MonitorPolicy, encoder: Encoder | None) -> list[Check]:
    """How many documents are new or gone, and whether the new ones are told apart from those that the champion learnt from."""
    if newest is None:
        return [not_measured("corpus", "the data registry has no version of it in this home")]
    if newest.digest == learnt.digest:
        return [Check(name="corpus", verdict="PASS", sentence="The newest corpus is the one that the champion was made of.")]
    old, now = read_documents(learnt), read_documents(newest)
    known = {document.text for document in old}
    new = [document for document in now if document.text not in known]
    gone = len(known - {document.text for document in now})
    share = len(new) / max(1, len(now))
    counted = Check(
        name="corpus: documents", verdict="PASS", value=share,
        sentence=f"Of {len(now)} documents {len(new)} are new, and {gone} of {len(old)} are gone.",
    )  # fmt: skip
    if not new:
        return [counted]
    try:
        comparison = compare_texts(Request(_texts(new), _texts(old), words=_WORDS), encoder=encoder)
    except ValueError as error:
        return [counted, not_measured("corpus: told apart", str(error))]
    return [counted, apart("corpus: told apart", comparison, policy.apart, "what the champion was made of")]


def _texts(documents: list[Document]) -> list[Text]:
    return [Text(document.text, document.doc_id) for document in documents]
