"""Choosing, comparing and measuring recordings."""
