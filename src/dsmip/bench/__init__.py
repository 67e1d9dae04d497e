"""Measurements: each figure beside its baseline from the same run (`dsmip bench`)."""
