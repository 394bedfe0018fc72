"""The parts of the page Pruning."""
