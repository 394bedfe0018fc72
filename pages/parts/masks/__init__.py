"""The parts of the view Masks of Runs."""
