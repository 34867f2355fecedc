"""Bias: who a corpus writes about and how, what a model says of one group and of another, and public sets about it."""
