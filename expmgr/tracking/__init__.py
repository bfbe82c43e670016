"""What MLflow knows: runs as a table, a run's models, the registry, protection, the journal."""
