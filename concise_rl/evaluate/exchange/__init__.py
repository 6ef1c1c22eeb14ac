"""Runs made with other tools become evaluations here (`concise-rl import`), and evaluations become their logs
(`concise-rl export`)."""
