"""What the browser does, without a widget: the runs, the dialogues, and the loop they live on.

Nothing here imports ipywidgets, so all of it is tested without a page.
"""
