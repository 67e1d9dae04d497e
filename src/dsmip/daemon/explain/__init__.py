"""`dsmip explain`: the story of a mobile node in plain words."""
