"""Our Queue in each flavour behind one blocking face."""

from typing import Any

import anyio

from chasquimq import aio, sync


class OurQueue:
    """Every method call opens a Queue of the flavour, calls it, and closes it."""

    def __init__(self, url: str, name: str, flavour: str, **options: Any) -> None:
        self.url, self.name, self.flavour = url, name, flavour
        self.options = options

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.flavour == "sync":
                with sync.Queue[Any, Any](self.name, connection=self.url, **self.options) as queue:
                    return getattr(queue, method)(*arguments, **options)

            async def main() -> Any:
                async with aio.Queue[Any, Any](self.name, connection=self.url, **self.options) as queue:
                    return await getattr(queue, method)(*arguments, **options)

            return anyio.run(main, backend=self.flavour)

        return call
