"""One test, many copies at once: the mark ``cosmos_race``, and where its copies run."""
