"""Secrets in configuration files."""

from __future__ import annotations


class Key(bytes):
    """A shared secret, written in hexadecimal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Key(...)"
