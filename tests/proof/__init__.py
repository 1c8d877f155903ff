"""What the product's page promises, the name in Python, and the test that shows it: see ``table.py``."""
