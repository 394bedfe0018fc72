"""Parts of the page Explore: asking for a recording, playing it, and what its tabs show."""
