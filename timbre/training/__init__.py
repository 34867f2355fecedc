"""Training a LoRA adapter towards a target distribution, or towards the observed tokens.

data, replay      rows and replay items -> padded batches
adapters          LoRA on all linear layers; saving and loading
checkpoints       what a killed run goes on from
trainer           the loop: `train`
reference         the same loop on plain passages, for cross-fitting
stage             the stage "adapter"; `python -m timbre.training REQUEST.json`
"""
