"""The Lua scripts: their contracts as text, and their effects on real servers."""
