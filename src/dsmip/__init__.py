"""Dual Stack Mobile IPv6 for Linux: home agent, mobile node and mobile router."""

__version__ = "0.1.0"
