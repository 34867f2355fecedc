"""Evaluation: what a model thinks of unseen human text, and how what it writes differs from what humans write."""
