"""Which groups a step trains on."""
