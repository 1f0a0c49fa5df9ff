"""The models that value customers: base class, linear, trees, boosted, buy-till-you-die."""
