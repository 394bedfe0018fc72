"""Parts of the page Study."""
