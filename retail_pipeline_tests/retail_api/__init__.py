"""Tests of the bundled retail API."""
