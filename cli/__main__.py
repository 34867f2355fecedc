"""`python -m timbre.cli`, for processes that must not depend on PATH."""

from timbre.cli import main

main()
