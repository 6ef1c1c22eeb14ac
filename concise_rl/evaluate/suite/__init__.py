"""Several tasks, one table: each task is an evaluation of its own, and a suite is the means over them."""
