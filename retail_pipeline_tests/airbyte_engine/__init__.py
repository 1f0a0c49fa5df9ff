"""Tests of the embedded Airbyte engine."""
