"""KL(P‖Q) to the stored target, fused: distribution fine-tuning itself. Covers the modes of the target."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_kl import sparse_forward_kl

OBJECTIVE = Objective("KL(P‖Q)", "targets", lambda h, w, at: sparse_forward_kl(h, w, *at.target, tail_mode=at.options.tail))
