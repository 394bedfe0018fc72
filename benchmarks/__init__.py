"""What is fast, against what: each script prints ratios measured in one run."""
