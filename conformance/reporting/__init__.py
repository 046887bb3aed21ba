"""Verdicts of a run, and the reports that are made of them."""
