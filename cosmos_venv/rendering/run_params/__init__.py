"""What a run may choose: the params of the DAG, and the plan in which a first task evaluates the selection."""
