"""Sampling: from logits to the next token, in one definition that torch generation and ONNX serving share."""
