"""From a model and an adapter to a bundle that runs without torch: ONNX decoder, tokenizer, and proof that they agree."""
