"""The protocol engine of a mobile node or mobile router: packets and events in, actions out."""
