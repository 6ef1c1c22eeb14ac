"""Grade stored samples again."""
