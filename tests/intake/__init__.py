"""Texts as people have them, made on the spot: what `timbre corpus add` is given, and what it must make of it."""
