"""What one Redis core carries, and what many jobs a second need: calculated from measured figures.

``sizes`` measures what things take in the server's memory, ``capacity`` calculates, ``__main__`` prints and writes the
tables of docs/scale.md.
"""
