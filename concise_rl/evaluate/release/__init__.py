"""Make a trained model fit to publish: `concise-rl release`."""
