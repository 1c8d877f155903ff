"""The core, module by module: no server, no real clock, no event loop."""
