"""Shows a run: the files that it leaves, a page of them, and the command `concise-rl watch`.

A run's folder holds `metrics.jsonl` (a line for each logged step), `events.jsonl` (starts, warnings, checkpoints, the
end) and `rollouts.jsonl` (rollouts of a few steps). `run.html` shows all three. Everything is read from these files, so
that a folder copied from a cluster shows what the run showed there.
"""
