"""Pruned checkpoints: their masks, their reports, and what two of them have in common."""
