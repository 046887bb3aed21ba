"""The maintenance of a store: its inventory, removal of what is too much or left over, the commands in its ``bin``."""
