"""Claims of the field, tested on a model: a part of the page Evidence."""
