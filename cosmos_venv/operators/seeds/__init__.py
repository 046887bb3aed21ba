"""Seeds that are loaded only when they have changed."""
