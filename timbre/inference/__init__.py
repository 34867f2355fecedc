"""Inference: what talks to a loaded model: scoring tokens, drawing texts, the prompts that are continued, sentence vectors."""
