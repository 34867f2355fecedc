"""Objectives that can be trained with and that no table of ours recommends; the name of a file is the name of the objective."""
