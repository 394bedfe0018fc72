"""The disk store: its format (`disk`), opening it (`opening`), content keys (`keys`) and its contents (`store`)."""
