"""Target distributions: what the student is trained towards at every position, and whether that is worth learning.

material, prompts          passages of the corpus, raw or behind a prompt
reference, scoring         cross-fitted adapters; what a model says of a passage
ngram                      interpolated back-off without the document at hand
reference_distribution     everything but the observed token, step by step
fitting                    temperature, blend weights and n-gram weight by held-out log score
principles, classifier     written principles as scores; one learnt from examples
debias                     counterfactual swaps
blending                   blends by name
mixture, continuations     the observed token, or what several people wrote
rows, shards               what is stored, a shard at a time
preparation, jobs, workers a target's parts in any process; pieces of it, and who makes them
assembly, stage            the whole build; the stage "target"
admission, charts          is it better than the base model? figures and pictures
inspect, page, summary     looking at it
"""
