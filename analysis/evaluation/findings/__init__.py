"""Sentences on evaluations, sweeps, ablations and evictions, which claim no more than intervals and tests hold."""
