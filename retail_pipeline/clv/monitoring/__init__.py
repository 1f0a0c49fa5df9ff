"""Monitoring of the served model: reasons, importance, drift, predictions beside outcomes."""
