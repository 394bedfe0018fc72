"""Parts of the page Denoise: asking for a recording, and playing it."""
