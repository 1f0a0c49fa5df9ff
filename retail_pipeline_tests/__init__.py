"""Tests; the folders mirror the rooms of `retail_pipeline`."""
