"""Fixtures of the laws, taken from the packages that the laws test."""

from retail_pipeline_tests.end_to_end.conftest import lines_file, run, settings
from retail_pipeline_tests.warehouse.conftest import dbt, dbt_of_all

__all__ = ["dbt", "dbt_of_all", "lines_file", "run", "settings"]
