"""Ingestion assets: Airbyte syncs from the retail API into the landing tables (`transactional`).

Asset specs are built from the files under `airbyte/`, so code loads with nothing running. The
Airbyte workspace (embedded or on a server) and the API are contacted only during a sync.
"""

from retail_pipeline.ingestion.assets import build_ingestion

__all__ = ["build_ingestion"]
