"""Everything that a reader may copy is run: the examples, the demo, and the Python blocks of all pages."""
