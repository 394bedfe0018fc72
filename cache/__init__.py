"""The disk store: its format (`disk`), opening it (`opening`), names by content (`keys`), what is kept (`store`)."""
