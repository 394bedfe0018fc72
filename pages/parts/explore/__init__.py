"""Parts of the page Explore: making a recording, playing it, and its tabs."""
