"""The HTTP application of the mock API."""
