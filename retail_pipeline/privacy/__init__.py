"""Removal of a person from everything that the pipeline stores; the list that keeps them out."""
