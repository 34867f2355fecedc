"""Cross-entropy of the observed token: supervised fine-tuning, the rival."""

from timbre.objectives.objective import Objective
from timbre.objectives.sparse_kl import cross_entropy_sum

OBJECTIVE = Objective("−log q_y = KL(δ_y‖Q)", "labels", lambda h, w, at: cross_entropy_sum(h, w, at.labels_N))
