"""The upkeep of a store: its inventory, the removal of what is too much or left over, the commands in its ``bin``."""
