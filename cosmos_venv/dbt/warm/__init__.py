"""dbt started warm: forked, for each command, from a process that has imported it.

``process`` and ``servers`` are the side of the worker, ``status`` that of people. ``server`` runs on the Python of the
environment (3.9 and later): the standard library only.
"""
