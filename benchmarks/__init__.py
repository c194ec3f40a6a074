"""The benchmark suite: the workloads of reactive_db beside SQLite, DuckDB, Redis and PostgreSQL, in one run.

What lives here may use only the public API of `reactive_db`. `README.md` says how to run it and how to read it.
"""
