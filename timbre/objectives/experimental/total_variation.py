"""Half the sum of what probabilities differ."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_divergences import sparse_total_variation

OBJECTIVE = Objective("½·Σ|p − q|, K+1 events", "targets", lambda h, w, at: sparse_total_variation(h, w, *at.target))
