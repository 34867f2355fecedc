"""Does a soft target pay where there is little text? See `python -m benchmarks.little_text --help`."""
