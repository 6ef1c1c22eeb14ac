"""Exits: ways to stop the thinking of a model that was not trained to stop. Each is named, and has a file."""
