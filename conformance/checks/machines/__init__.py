"""The checks of what several machines share."""
