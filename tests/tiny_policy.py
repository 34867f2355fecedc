"""Gate policies for tiny models in tests."""

LEARNS = """[[gates]]
name = "held_out_nll"
title = "Held-out likelihood"
kind = "superiority"
metric = "nll"
weight = "nll_tokens"
direction = "lower"
minimum_items = 4
minimum_clusters = 3
why = "Learning must show."
"""
TINY_POLICY = f"""
name = "tiny"
strictness = 1
summary = "For a random model of two layers in tests: it must learn, be exported well, and hold what it copied below a bound."

{LEARNS}
[[gates]]
name = "parity"
title = "Largest logit difference to torch"
kind = "ceiling"
metric = "bundle.parity.max_abs_logit_difference"
limit = 1e-3
why = "fp32 kernels."

[[gates]]
name = "bias"
title = "Bias gap"
kind = "non_inferiority"
metric = "bias_gap"
direction = "lower"
margin = 20.0
minimum_items = 60
minimum_clusters = 60
why = "A random model knows nothing; only a collapse would show."
"""
