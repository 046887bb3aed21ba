"""What keeps a store of environments clean: names, cleanup, limits."""
