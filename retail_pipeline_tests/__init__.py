"""Tests; the folders mirror the packages of `retail_pipeline`."""
