"""Callbacks that save checkpoints from training frameworks, in those frameworks' own words.

``expmgr.integrations.huggingface`` for ``transformers.Trainer``, ``expmgr.integrations.lightning``
for Lightning. Each imports its framework, and is imported by nothing else here.
"""
