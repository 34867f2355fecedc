"""Jensen–Shannon divergence, β between the directions."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_divergences import sparse_jsd

OBJECTIVE = Objective(
    "β·KL(P‖M) + (1−β)·KL(Q‖M), K+1 events", "targets", lambda h, w, at: sparse_jsd(h, w, *at.target, beta=at.options.jsd_beta)
)
