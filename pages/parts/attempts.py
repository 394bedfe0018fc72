"""Wrong passwords are answered late, by the address that they come from, and nobody waits for long."""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds before a wrong password is answered: doubled by each in a row
AT_ONCE = 4  # attempts of one address that are looked at or wait; the rest are sent away at once
REMEMBERED = 10_000  # addresses


@dataclass
class Attempts:
    """The attempts of one address. wrong: in a row. pending: looked at or waiting, one at a time."""

    wrong: int = 0
    pending: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answer(self, right: bool) -> None:
        """Wait before a password is answered, by how many in a row were wrong."""
        self.wrong = 0 if right else self.wrong + 1
        if not right:
            await asyncio.sleep(min(FIRST_DELAY * 2 ** min(self.wrong - 1, 10), LONGEST_DELAY))


class AttemptsByAddress:
    """The attempts of every address that guessed lately."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, Attempts] = OrderedDict()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[Attempts | None]:
        """Wait until the attempts before this one are answered; None where too many wait already.

        An attempt waits for at most AT_ONCE - 1 others, each answered within LONGEST_DELAY.
        """
        name = neighbourhood(address)
        attempts = self._by_address.setdefault(name, Attempts())
        self._by_address.move_to_end(name)
        if attempts.pending >= AT_ONCE:
            yield None
            return
        attempts.pending += 1
        try:
            async with attempts.turn:
                yield attempts
        finally:
            attempts.pending -= 1
            self._forget()

    def _forget(self) -> None:
        """Drop the addresses that were quiet for longest, and those that have nothing to remember."""
        for name in list(self._by_address):
            attempts = self._by_address[name]
            if len(self._by_address) <= REMEMBERED:
                break
            if not attempts.pending:
                del self._by_address[name]


def neighbourhood(address: str) -> str:
    """Return what counts as one address: of IPv6 the network, of which one machine has every address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.ipv4_mapped:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
