"""The executor: plans, batches and runs, promises and their hygiene, the time limit."""
