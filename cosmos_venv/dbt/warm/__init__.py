"""How does dbt start without importing itself anew? Forked, for each command, from a process that has imported it.

``process``, ``place`` and ``servers`` are the side of the worker, ``census`` that of people. All others run on the
Python of the environment (3.9 and later): the standard library only. What they know of dbt itself is in ``first_use``,
``json_text``, ``flat_merge`` and, of a project that is kept, in ``dbt_parts``, ``parsed`` and ``parsed_artifacts``.
"""
