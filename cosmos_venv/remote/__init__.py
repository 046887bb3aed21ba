"""What does a file hold that lies elsewhere, and has it changed? On a web server, or in an object store of Airflow's.

What is slow to import is imported where it is used.
"""
