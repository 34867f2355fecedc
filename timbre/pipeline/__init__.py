"""The steps of a release, declared once (`steps`), and what follows from that: finding, building, planning.

The roof of the library: it looks into every room's `STAGE`, and nothing else inside `timbre` looks at it. Importing it, and
finding what is already built, loads neither torch nor Great Expectations.
"""

from timbre.pipeline.building import build, command_of, config_of, find, inputs_of, needs_of, steps_of
from timbre.pipeline.inputs import policy_path
from timbre.pipeline.steps import STEP, STEPS, Step

__all__ = [
    "STEP", "STEPS", "Step", "build", "command_of", "config_of", "find", "inputs_of", "needs_of", "policy_path", "steps_of",
]  # fmt: skip
