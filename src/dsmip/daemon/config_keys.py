"""Secrets in configuration files."""

from __future__ import annotations


class Key(bytes):
    """A shared secret, written in hexadecimal."""

    def __repr__(self) -> str:
        return "Key(...)"
