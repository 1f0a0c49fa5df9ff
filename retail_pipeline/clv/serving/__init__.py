"""The served predictions: scores, segments, margins, and the stored models behind them."""
