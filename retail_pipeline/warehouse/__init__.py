"""The warehouse: dbt models as Dagster assets, and dbt without Dagster for evaluations.

All transformations are SQL in `dbt_project/`; none is written in Python.
"""
