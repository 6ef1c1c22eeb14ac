"""What token ids say: where thinking ends, and its passages."""
