"""One test, many copies at once: the mark, where its copies run, and the barriers where they wait for each other."""

MARK = "cosmos_race"
"""Name of the mark, and of the property of a test's report that tells why it was not run across workers."""
BEFORE_FORKS = "_cosmos_airflow_for_runs"
"""The fixture that makes ready what each forked racer would make for itself, at the cost of seconds."""
INDEX = "_cosmos_racer_index"
"""The fixture whose parameter is the racer's number, where racers are tests of their own."""
