"""Where thinking became redundant."""
