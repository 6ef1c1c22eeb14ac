"""From a recipe's YAML to checked settings."""
