"""Checkpoints: finding, identifying and loading them."""
