"""What a sink is, what is measured about sinks, and how much they are discounted."""
