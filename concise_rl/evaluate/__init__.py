"""Evaluation: samples are files first, and every number in a report is a function of those files alone."""
