"""Writing text with a bundle. Nothing here imports torch or transformers."""
