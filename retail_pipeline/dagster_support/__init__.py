"""What this project adds to Dagster: storage connections, retries, run config, asset metadata."""
