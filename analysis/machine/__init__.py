"""The machine: this process's share of it, its threads, and the hardware of a run."""
