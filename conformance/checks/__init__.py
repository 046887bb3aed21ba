"""The checks, one module an area of the specification."""
