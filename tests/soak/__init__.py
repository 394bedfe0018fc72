"""Many mixed jobs from several sessions, with cancels and dying workers: `make soak`."""
