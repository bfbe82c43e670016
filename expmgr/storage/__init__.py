"""What Azure Blob Storage holds: locations and their guard, listing, deleting and restoring."""
