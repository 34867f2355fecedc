"""Metrics: texts in, figures out. No model is run here, and what is imported is light."""
