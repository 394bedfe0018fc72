"""The parts of the page Prune: prunings."""
