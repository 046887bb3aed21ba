"""Recorded runs, as the look-alike answers calls from them. The modules are copied as those of the folder above."""
