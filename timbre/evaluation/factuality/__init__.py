"""Factuality drift: does the tuned model still know, say and copy what the base did?

    topics        the true/false pairs by topic (timbre.evaluation.probes scores them)
    closed_book   short questions, several samples each at the serving sampler
    copying       names and numbers of a given passage, told again
    unknown       how much of the corpus the base does not know
    readers       TruthfulQA, MMLU and other multiple-choice files that a user points to
    harness       lm-evaluation-harness on local data (`timbre[benchmarks]`), programs run in `sandbox`

Everything is a difference to the base, paired by item; no score comes from a model's judgement.
"""
