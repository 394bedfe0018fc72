"""Which checkpoints there are, what they are, and how they load."""
