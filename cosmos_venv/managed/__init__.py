"""The managed environment that a dbt command runs in, and what is kept for it.

These modules wire environments, which know no dbt, with dbt, which knows no environments, and with the settings.
Operators, parsing and the command line all ask here, so they find one digest for the same arguments. Callers import the
module that they need: a DAG file that is parsed needs few of them.
"""
