"""Several servers that belong together: started anew when somebody else took a port, ended all at once."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from dbopt.testing.services.folders import sweep
from dbopt.testing.services.processes import PORT_ATTEMPTS, Lifetime, PortTakenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

G = TypeVar("G", bound="Group")


class Group:
    """Running servers. They end with `stop`, with the `with` block, and with this process."""

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime

    def stop(self) -> None:
        """Stop all servers and remove their data. May be called twice."""
        self._lifetime.end()
        self._lifetime.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def started(start: Callable[[Lifetime], G]) -> G:
    """Return what a function starts, tried again on other ports.

    Raises:
        ServerStartError: it cannot be had; whatever had started is stopped again.
    """
    sweep()
    for attempt in range(PORT_ATTEMPTS):
        lifetime = Lifetime()
        try:
            return start(lifetime)
        except BaseException as error:
            lifetime.end()
            lifetime.wait()
            if not isinstance(error, PortTakenError) or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
