"""Thin Prefect tasks, one file a stage: order, retries, slots, and what the UI shows. No science here."""
