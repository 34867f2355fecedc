"""What pages call the metrics: words a reader knows, short enough for the rim of a radar."""

_TITLES = {
    "mattr": "variety of words", "mtld": "length of varied runs", "distinct_2": "distinct word pairs",
    "hapax_share": "words used once", "rare_word_rate": "rare words",
    "self_bleu": "phrases that texts share", "gzip_ratio": "how far texts compress", "self_repetition_4": "runs of 4 words said again",
    "frame_compression": "sameness of frames", "same_opener_rate": "sentences that open alike",
    "unigram_l2": "words, distance", "bigram_l2": "word pairs, distance", "trigram_l2": "word triples, distance",
    "unigram_jsd": "words, divergence", "bigram_jsd": "word pairs, divergence", "trigram_jsd": "word triples, divergence",
    "mmd_content": "contents, MMD²", "mmd_style": "manner, MMD²", "sentence_length_w1": "sentence lengths",
    "type_token_ratio": "distinct words over all", "opener_run_rate": "three openings alike", "reading_level": "reading level",
    "feeling_rate": "words that name a feeling", "emotional_range": "range of feelings",
}  # fmt: skip


def title_of(name: str) -> str:
    """The words for a metric's name; of anything else the name itself, its underscores read as spaces."""
    return _TITLES.get(name) or name.replace("_", " ")
