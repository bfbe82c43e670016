"""A demo that needs no account: Azurite, sample runs, and the run browser in JupyterLab."""
