"""Additions to Dagster: storage connections, retries, run configuration, asset metadata."""
