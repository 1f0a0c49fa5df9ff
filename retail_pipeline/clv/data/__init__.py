"""Training data: cut-offs, outcomes, samples, and access to the tables that hold them."""
