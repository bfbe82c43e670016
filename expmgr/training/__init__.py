"""The training side: iterations, runs, metrics and models, as a training script talks to them."""
