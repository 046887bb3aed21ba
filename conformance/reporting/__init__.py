"""What a run of the suite reports."""
