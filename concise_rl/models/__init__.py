"""Where a model is, and how it is loaded."""
