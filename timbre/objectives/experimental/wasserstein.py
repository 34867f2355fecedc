"""How far the mean embeddings of target and model lie apart."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_divergences import sparse_wasserstein

OBJECTIVE = Objective("‖E_P u − E_Q u‖², K+1 places", "targets", lambda h, w, at: sparse_wasserstein(h, w, *at.target))
