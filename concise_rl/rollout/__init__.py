"""Rollouts: the engine seam and the plans that speak to it."""
