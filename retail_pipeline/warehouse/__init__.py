"""The warehouse: dbt's models as Dagster assets, and dbt without Dagster for evaluations.

The SQL itself is in `dbt_project/`; no transformation is written in Python.
"""
