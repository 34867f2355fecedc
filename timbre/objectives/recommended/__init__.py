"""Objectives that the tables of this project recommend or compare with; the name of a file is the name of the objective."""
