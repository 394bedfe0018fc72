"""Pruning: what a weight is worth, and which weights go."""
