"""Bytes to messages and back: nothing here touches a socket, a clock or a log."""
