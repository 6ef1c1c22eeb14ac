"""How an engine gets the weights of the policy."""
