"""The guard against slower hot paths: instructions are counted, because on a shared machine no clock can be trusted.

``paths`` is the program that is counted, ``callgrind`` counts it, ``verdict`` compares with the stored baseline.
"""
