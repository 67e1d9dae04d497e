"""The protocol engine of a home agent: packets and events in, actions out."""
