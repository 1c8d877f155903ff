CALLS = ("run", "close", "__aenter__", "__aexit__")
