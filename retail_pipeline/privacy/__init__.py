"""Removal of a person's data from all storage, and the suppression list for later syncs."""
