"""What sinks do: views of the page Causes."""
