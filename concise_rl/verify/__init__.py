"""Verdicts: whether an answer is right."""
