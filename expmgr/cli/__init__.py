"""The command line over the manager's calls: ``expmgr usage``, ``plan``, ``delete`` and others."""
