CALLS = ("run", "wait_until_ready", "__anext__", "close", "__aenter__", "__aexit__")
