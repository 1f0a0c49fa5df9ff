"""The retail customer-value pipeline; importing the package does no network and no file work."""
