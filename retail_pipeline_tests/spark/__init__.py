"""The engine Spark beside PostgreSQL: equal results, also while workers and drivers are lost."""
