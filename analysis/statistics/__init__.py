"""Differences and their families, intervals over clusters of items and over calibration seeds, and decisions."""
