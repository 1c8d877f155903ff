"""Hostile bytes for everything that reads bytes: see README.md."""
