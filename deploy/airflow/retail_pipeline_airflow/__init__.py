"""Operators for Airflow 3 that run the retail pipeline; they import nothing of it."""
