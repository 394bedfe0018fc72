"""How the sinks of a recording move: views of a tab of Explore."""
