"""Divergences between next-token distributions: plain dense forms to trust, and the fused sparse form to train with."""
