"""An implementation of another shape, to be judged by the suite: a command line, and none of Cosmos's names."""
