"""Training a model towards a target distribution, or towards the observed tokens and by other baselines.

data, replay       rows and replay items -> batches, padded or packed
preferences        pairs of human text and the base's own, for dpo
adapters           LoRA, a correction of the head, or all weights: made, saved, put back
student            from a batch to the objective, the accuracy term, the KL to base
gradients          one step's gradients, in micro-batches and over processes
parallel, launch   several processes: shares and sums, FSDP2, torchrun; `worker` is one of them
checkpoints        what a killed run goes on from
trainer            the loop: `train`
reference          the same loop on plain passages, for cross-fitting
stage              the stage "adapter"
"""
