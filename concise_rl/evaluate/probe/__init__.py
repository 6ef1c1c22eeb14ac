"""`concise-rl probe`: whether a model is worth training to stop thinking earlier, how, and with which recipe."""
