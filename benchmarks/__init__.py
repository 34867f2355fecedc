"""Measurements that take longer than a test; each prints one JSON object on its last line with `--json`."""
