"""Movement of a recording's sinks: views of a tab of Explore."""
