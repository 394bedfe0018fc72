"""Benchmarks of speed: each script prints ratios measured in one run."""
