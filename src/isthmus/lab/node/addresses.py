"""Addresses for pods: each its own, out of the node's range, and none given again soon after it was released."""

from ipaddress import IPv4Address, IPv4Network

FIRST_HOST = 2  # .0 names the network and .1 is where a gateway would be


class AddressPool:
    """Hands out the addresses of a range in turn. Pure: what is in use is told by the caller."""

    def __init__(self, network: IPv4Network) -> None:
        self._network = network
        self._next = FIRST_HOST
        self._owners: dict[str, str] = {}

    def take(self, owner: str, *, wish: str | None = None) -> str:
        """An address for ``owner``: the wished one if it is free, else the next in turn.

        Raises LookupError if all of the range is in use.
        """
        if wish and self._has(wish) and self._owners.get(wish, owner) == owner:
            self._owners[wish] = owner
            self._next = max(self._next, int(IPv4Address(wish)) - int(self._network.network_address) + 1)
            return wish
        address = self._advance()
        self._owners[address] = owner
        return address

    def release(self, owner: str) -> None:
        """Take back what ``owner`` has; its turn comes again when the range has been gone through once."""
        self._owners = {address: holder for address, holder in self._owners.items() if holder != owner}

    def _has(self, wish: str) -> bool:
        """Whether a wish is one of our addresses; it may be anything that someone wrote into a status."""
        try:
            return IPv4Address(wish) in self._network
        except ValueError:
            return False

    def _advance(self) -> str:
        hosts = self._network.num_addresses - 1 - FIRST_HOST
        for _ in range(hosts):
            if self._next >= self._network.num_addresses - 1:
                self._next = FIRST_HOST
            address = str(self._network[self._next])
            self._next += 1
            if address not in self._owners:
                return address
        raise LookupError(f"Choosing an address for a pod: all {hosts} of {self._network} are in use; delete some pods")
