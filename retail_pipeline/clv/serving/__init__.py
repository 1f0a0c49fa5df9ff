"""The served predictions: scores, segments, present values and margins."""
