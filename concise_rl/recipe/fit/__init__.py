"""Whether a run would start and fit, said without a GPU and without a hub: what `concise-rl check --gpus` prints."""
