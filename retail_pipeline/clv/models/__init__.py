"""The models of customer value: linear, trees, boosting, buy-till-you-die, seasonal."""
