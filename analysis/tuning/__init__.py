"""Tuning the discount without running the model."""
