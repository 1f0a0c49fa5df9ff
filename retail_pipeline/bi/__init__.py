"""Dashboards: the files under `superset/assets`, applied to a Superset of its own."""
