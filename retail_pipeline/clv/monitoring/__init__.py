"""Monitoring of the served model: reasons, importance of features, drift, realised values."""
