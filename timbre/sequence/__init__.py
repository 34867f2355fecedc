"""Sequence-level targets: whole completions of the tuned model, weighted so that taken together they read as human text does.

    pool        the stage "completions": prompts, N completions each by the tuned token-level model, their log-probabilities
    features    what is matched: surprisal, sentence lengths, openers, vocabulary, compression, function words, marks
    weights     exponential tilting to human moments, or a bounded density ratio; cross-fitted; effective sample size
    admission   whether the weighted completions are told apart from human text less than plain ones, before anything is trained
    stage       the stage "sequence": weights, admission, moments, what the model overuses
    inspect     all of that for people

See docs/explanation/sequence.md.
"""
