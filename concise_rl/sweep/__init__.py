"""Train several recipes from one base model over several seeds, measure them on the same problems, compare them."""
