"""The nodes of a manifest that dbt selects: one engine for ``select``, ``exclude`` and YAML selectors.

:source: dbt's own selection. The tests compare both in fixed cases and in random ones.
"""
