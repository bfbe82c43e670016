"""Planning a deletion, carrying it out, reporting it."""
