"""Searching readers of binary files for inputs that they neither take nor refuse: `make fuzz`."""
