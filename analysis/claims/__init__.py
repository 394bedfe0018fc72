"""Claims of the field tested on a model: their numbers, their verdicts, and the wording."""
