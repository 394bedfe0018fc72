"""Claims of the field tested on a model: what their numbers are, which verdict they allow, and how it is written."""
