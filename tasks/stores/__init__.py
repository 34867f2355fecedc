"""The stores that own state outside Timbre: MLflow (runs, versions) and DVC (data)."""
