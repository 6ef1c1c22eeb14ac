"""Trains several recipes from one base model over several seeds, measures them on the same problems, compares them."""
