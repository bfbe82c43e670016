"""Where what is drawn begins: alike each time, so that a change is judged by itself."""

from __future__ import annotations

import os
import secrets


def seed_of(variable: str, usual: int) -> int:
    """The seed that an environment variable names; "random" draws one."""
    named = os.environ.get(variable) or str(usual)
    return secrets.randbelow(2**32) if named == "random" else int(named)
