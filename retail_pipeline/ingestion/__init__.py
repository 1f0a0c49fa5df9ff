"""Airbyte as assets: from the retail API into the landing tables of the schema `transactional`.

Specs come from the files under `airbyte/`, so that code loads with nothing running; an Airbyte
workspace (embedded or a server's) and the API are contacted only to sync.
"""

from retail_pipeline.ingestion.assets import build_ingestion

__all__ = ["build_ingestion"]
