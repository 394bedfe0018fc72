"""Figures with their sentences and numbers, made from arrays and tables."""
