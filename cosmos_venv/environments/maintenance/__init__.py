"""The maintenance of a store: its inventory, and the removal of builds that are too many, damaged or left over."""
