"""KL(Q‖P): sharpens."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_divergences import sparse_reverse_kl

OBJECTIVE = Objective("KL(Q‖P), K+1 events", "targets", lambda h, w, at: sparse_reverse_kl(h, w, *at.target))
