"""The accuracy panel."""
