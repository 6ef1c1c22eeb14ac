"""One forward pass over what the rows of a group share."""
