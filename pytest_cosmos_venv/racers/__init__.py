"""One test, many copies at once: the mark, where its copies run, and how they meet."""
