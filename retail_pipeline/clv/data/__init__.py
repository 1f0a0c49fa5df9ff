"""What the models are trained on: cut-offs, outcomes, samples, and the tables they come from."""
