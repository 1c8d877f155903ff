"""The report: what was measured, on what, with which caveats, and which targets are met."""
