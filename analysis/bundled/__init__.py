"""The text, weights and cards of the bundled pair."""
