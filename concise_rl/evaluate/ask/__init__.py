"""`concise-rl try`: ask models one question, and watch them think."""
