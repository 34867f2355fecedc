"""Does a soft target write more like people than the best that plain fine-tuning does? See `python -m benchmarks.proof --help`."""
