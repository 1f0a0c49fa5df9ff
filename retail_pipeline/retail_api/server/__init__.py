"""The HTTP application of the bundled retail API."""
