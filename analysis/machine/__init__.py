"""The machine: what this process may take of it, with how many threads it computes, and what it ran on."""
