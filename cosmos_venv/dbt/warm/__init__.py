"""How does dbt start without importing itself anew? Forked, for each command, from a process that has imported it.

``process``, ``place`` and ``servers`` are the side of the worker, ``census`` that of people. ``server``, ``post``,
``imports``, ``json_text``, ``first_use``, ``forking``, ``keeper``, ``child`` and ``facts`` run on the Python of the
environment (3.9 and later): the standard library only.
"""
