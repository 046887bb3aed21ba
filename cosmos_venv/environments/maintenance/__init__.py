"""The maintenance of a store: its builds listed, held against their records, and removed."""
