"""Exit policies, tried on stored samples: probes first, then curves that are functions of those files alone."""
