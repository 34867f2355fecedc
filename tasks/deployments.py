"""Names that `prefect.yaml` and the code share."""

POOL = "timbre"
