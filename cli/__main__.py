"""`python -m cli`, for processes that must not depend on PATH."""

from cli import main

main()
