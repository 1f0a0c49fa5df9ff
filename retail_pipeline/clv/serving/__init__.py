"""The served predictions: scores, totals, segments, present values and margins."""
