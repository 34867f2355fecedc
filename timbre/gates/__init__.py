"""Gates: a policy written before the run, the evidence of one candidate, and the verdict that follows from the two."""
