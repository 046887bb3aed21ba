"""Recorded runs, as the fake dbt answers calls from them. The modules are copied as those of the folder above."""
