"""Intervals and verdicts: is the difference there, is it small enough, or can this set not tell?

Differences are always *better minus worse*: d > 0 means the candidate is better. `low` and `high` are one-sided bounds,
each at the stated confidence, so that "low > −margin" errs in at most 5 of 100 releases that stand on the margin.

Choices, and what they rest on (tests/unit/test_statistics_*.py repeat the simulations):

* Means over items in clusters: the wider of two bounds. The CR2 cluster-robust t bound with degrees of freedom that follow
  from the cluster sizes (Bell & McCaffrey 2002) holds 5% with 10–60 clusters of uneven size where the usual G − 1 form lets
  up to 17% pass; the bootstrap-t adds what skewed losses need. The percentile bootstrap passes up to 10% and is not used.
  Neither is safe with few clusters *and* heavy skew (exponential losses shared by whole clusters: 6–10% at 10–25 clusters).
* Differences of shares that are mostly 0 (words copied, names got right): the wider of that and Gaffke's bound (2005), which
  knows that the worst may not have been seen; the CR2 bound alone lets 10–60% pass at 10–40 clusters there.
* Shares of texts: Clopper–Pearson (exact), in clusters on counts divided by the design effect. Claims of superiority beside
  a verdict: Holm's step-down.
* Paired binary outcomes: Tango's score bound (1998); below 60 discordant pairs the exact unconditional bound on the same
  statistic (Sidik 2003), since the normal approximation is no longer safe there. In clusters: on counts divided by the
  design effect.

numpy and scipy are imported inside the functions: gates are looked up far more often than they are computed.
"""

from timbre.statistics.agreement import krippendorff_alpha
from timbre.statistics.bounded import bounded_bound
from timbre.statistics.claims import superiority_claims
from timbre.statistics.clustered import clustered_bound
from timbre.statistics.interval import Interval
from timbre.statistics.logistic import fit_logistic, logistic_probabilities
from timbre.statistics.paired import clustered_tango_bound, tango_bound
from timbre.statistics.proportions import clopper_pearson, clustered_proportion, rate_bound
from timbre.statistics.resampling import bootstrap_interval, half_sample_interval, half_samples, pseudo_values, round_robin
from timbre.statistics.verdicts import (
    Verdict,
    certifiable_margin,
    items_needed,
    items_that_would_do,
    superiority,
    three_way,
    upper_bound_rate,
)

__all__ = [
    "Interval", "Verdict", "bootstrap_interval", "bounded_bound", "certifiable_margin", "clopper_pearson", "clustered_bound",
    "clustered_proportion", "clustered_tango_bound", "fit_logistic", "half_sample_interval", "half_samples", "items_needed",
    "items_that_would_do", "krippendorff_alpha", "logistic_probabilities", "pseudo_values", "rate_bound", "round_robin", "superiority",
    "superiority_claims", "tango_bound", "three_way", "upper_bound_rate",
]  # fmt: skip
