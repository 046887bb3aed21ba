"""Files of ours and of others: how they are written, read, locked and judged."""
