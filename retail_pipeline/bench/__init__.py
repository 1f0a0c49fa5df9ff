"""Measurements against peers and limits. Nothing of the pipeline may import this room."""
