"""How sinks move: views of the page Dynamics."""
