"""Effects of sinks: views of the page Causes."""
