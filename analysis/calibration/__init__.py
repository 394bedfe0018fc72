"""Calibration: text, its noised versions, and what a model's activations on them say about its features."""
