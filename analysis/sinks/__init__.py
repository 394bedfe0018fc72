"""Definition of a sink, measures of sinks, and how much they are discounted."""
