"""dbt started warm: forked, for each command, from a process that has imported it.

``process`` and ``servers`` run in the worker; ``status`` is for people. ``server`` runs on the environment's Python
(3.9 and later): the standard library only. For each command the server forks a keeper, which forks dbt, watches dbt
and ends it: the keeper is the guard of a warm dbt.
"""
