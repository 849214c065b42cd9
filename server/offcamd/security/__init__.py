"""Keys and who may connect."""
