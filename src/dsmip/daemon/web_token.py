"""The token of the status page: configured, or made at the first start and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dsmip.daemon.config.observation import MIN_TOKEN, WebTable

#: In the state directory, for nobody else to read.
TOKEN_FILE = "web-token"


def token_of(table: WebTable, state_directory: Path) -> str:
    """The configured token, or the one in the state directory, which is made at the first start."""
    if table.token is not None:
        return table.token
    path = state_directory / TOKEN_FILE
    try:
        known = path.read_text(encoding="ascii").strip()
        if len(known) >= MIN_TOKEN:
            return known
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(24)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token
