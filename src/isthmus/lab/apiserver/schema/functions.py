"""What Kubernetes adds to CEL's own functions: URLs, lists, regular expressions, addresses, quantities. Pure.

What ``url``, ``ip``, ``cidr`` and ``quantity`` give are texts here, which their functions take: a rule that Kubernetes
takes is evaluated alike. Whatever a function raises fails the rule that calls it; what is no URL, address or quantity
is a ValueError.
Source: Kubernetes documentation, "Common Expression Language in Kubernetes: Kubernetes extensions".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from isthmus.lab.apiserver.schema.patterns import found

if TYPE_CHECKING:
    from cel_expr_python import cel

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FOUND_LIMIT = 10_000
"""How often ``findAll`` may find something: each time it may look through all of the text."""


# URLs


def _url(text: str) -> SplitResult:
    """An absolute URI, or an absolute path."""
    if not re.fullmatch(r"(/|[A-Za-z][A-Za-z0-9+.-]*:)[!-~]*", text):
        raise ValueError(f"URL parse error: '{text}' is no absolute URL")
    parts = urlsplit(text)
    _ = parts.port  # looked at only here: ValueError for one out of range
    return parts


def _url_host(text: str) -> str:
    return _url(text).netloc.rpartition("@")[2]


def _url_port(text: str) -> str:
    port = _url(text).port
    return "" if port is None else str(port)


def _url_hostname(text: str) -> str:
    return re.sub(r":\d*$", "", _url_host(text)).strip("[]")


# Lists


def _is_sorted(items: Sequence[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _sum(items: Sequence[Any]) -> Any:
    total = sum(items)
    if isinstance(total, int) and not _is_int64(total):
        raise ValueError("integer overflow")
    return total


def _is_int64(number: int | Decimal) -> bool:
    return -(1 << 63) <= number < 1 << 63


def _index(items: Sequence[Any], wanted: Any) -> int:
    return next((place for place, one in enumerate(items) if one == wanted), -1)


def _last_index(items: Sequence[Any], wanted: Any) -> int:
    return max((place for place, one in enumerate(items) if one == wanted), default=-1)


# Regular expressions


def _find(text: str, pattern: str) -> str:
    return next(found(pattern, text), "")


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    all_found = list(islice(found(pattern, text), limit if 0 <= limit <= FOUND_LIMIT else FOUND_LIMIT + 1))
    if len(all_found) > FOUND_LIMIT:
        raise ValueError(f"'{pattern}' is found more than {FOUND_LIMIT} times")
    return all_found


# Addresses


def _ip(text: str) -> Address:
    found = ipaddress.ip_address(text)
    if "%" in text or getattr(found, "ipv4_mapped", None):
        raise ValueError(f"IP Address '{text}' must not have a zone, nor be an IPv4 address in IPv6's form")
    return found


def _cidr(text: str) -> Network:
    address, _, length = text.rpartition("/")
    if not re.fullmatch("0|[1-9][0-9]{0,2}", length):
        raise ValueError(f"network address '{text}' has no prefix length")
    return ipaddress.ip_network((_ip(address).packed, int(length)), strict=False)


def _is_global_unicast(text: str) -> bool:
    address = _ip(text)
    apart = (address.is_unspecified, address.is_loopback, address.is_multicast, address.is_link_local)
    return not any(apart) and text != "255.255.255.255"


def _contains(network: str, inner: str) -> bool:
    outer = _cidr(network)
    other = _cidr(inner) if "/" in inner else ipaddress.ip_network(_ip(inner))
    return outer.version == other.version and other.subnet_of(outer)  # type: ignore[arg-type]  # of one version


# Quantities

_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NUMBER = r"[+-]?(?:[0-9]{1,4096}\.?[0-9]{0,4096}|\.[0-9]{1,4096})"
_QUANTITY = re.compile(rf"({_NUMBER})(?:[eE]([+-]?[0-9]{{1,3}})|([KMGTPE]i|[numkMGTPE]?))")
_EXACT = Context(prec=12_000)
"""Holds every sum of two quantities: 4096 digits and an exponent of 999 on each side of the point."""


def _quantity(text: str) -> Decimal:
    parts = _QUANTITY.fullmatch(text)
    if parts is None:
        raise ValueError(f"'{text}' is no quantity")
    number, exponent, unit = parts.groups()
    if unit in _BINARY:
        return _EXACT.multiply(Decimal(number), 1024 ** _BINARY[unit])
    return _EXACT.scaleb(Decimal(number), int(exponent) if exponent is not None else _UNITS[unit])


def _amount(value: str | int) -> Decimal:
    if isinstance(value, str):
        return _quantity(value)
    if type(value) is not int:  # a truth value is none
        raise ValueError(f"'{value}' is neither a quantity nor an integer")
    return Decimal(value)


def _whole(text: str) -> int:
    amount = _quantity(text)
    if amount != amount.to_integral_value() or not _is_int64(amount):
        raise ValueError(f"'{text}' is no integer of 64 bits")
    return int(amount)


def _compared(one: str, other: str) -> int:
    return int(_quantity(one).compare(_quantity(other)))


def _plain(amount: Decimal) -> str:
    return format(_EXACT.normalize(amount), "f")


# All of them


def _succeeds(function: Callable[[str], Any]) -> Callable[[str], bool]:
    def succeeds(text: str) -> bool:
        try:
            function(text)
        except ValueError:
            return False
        return True

    return succeeds


def _kept(function: Callable[[str], Any]) -> Callable[[str], str]:
    """Checks a text, and gives it as it is."""

    def checked(text: str) -> str:
        function(text)
        return text

    return checked


_FUNCTIONS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    # name, what it takes (T text, L list, I integer, D anything; a point behind the receiver) and gives, what it does
    ("url", "T:T", _kept(_url)),
    ("isURL", "T:B", _succeeds(_url)),
    ("getScheme", "T.:T", lambda text: _url(text).scheme),
    ("getHost", "T.:T", _url_host),
    ("getHostname", "T.:T", _url_hostname),
    ("getPort", "T.:T", _url_port),
    ("getEscapedPath", "T.:T", lambda text: _url(text).path),
    ("getQuery", "T.:D", lambda text: parse_qs(_url(text).query, keep_blank_values=True)),
    ("isSorted", "L.:B", _is_sorted),
    ("sum", "L.:D", _sum),
    ("min", "L.:D", min),
    ("max", "L.:D", max),
    ("indexOf", "L.D:I", _index),
    ("lastIndexOf", "L.D:I", _last_index),
    ("find", "T.T:T", _find),
    ("findAll", "T.T:L", _find_all),
    ("findAll", "T.TI:L", _find_all),
    ("ip", "T:T", _kept(_ip)),
    ("isIP", "T:B", _succeeds(_ip)),
    ("family", "T.:I", lambda text: _ip(text).version),
    ("isUnspecified", "T.:B", lambda text: _ip(text).is_unspecified),
    ("isLoopback", "T.:B", lambda text: _ip(text).is_loopback),
    ("isLinkLocalUnicast", "T.:B", lambda text: _ip(text).is_link_local),
    ("isGlobalUnicast", "T.:B", _is_global_unicast),
    ("cidr", "T:T", _kept(_cidr)),
    ("isCIDR", "T:B", _succeeds(_cidr)),
    ("containsIP", "T.T:B", _contains),
    ("containsCIDR", "T.T:B", _contains),
    ("ip", "T.:T", lambda text: text.partition("/")[0]),
    ("masked", "T.:T", lambda text: str(_cidr(text))),
    ("prefixLength", "T.:I", lambda text: _cidr(text).prefixlen),
    ("quantity", "T:T", _kept(_quantity)),
    ("isQuantity", "T:B", _succeeds(_quantity)),
    ("isInteger", "T.:B", _succeeds(_whole)),
    ("asInteger", "T.:I", _whole),
    ("asApproximateFloat", "T.:F", lambda text: float(_quantity(text))),
    ("sign", "T.:I", lambda text: _compared(text, "0")),
    ("add", "T.D:T", lambda one, other: _plain(_EXACT.add(_quantity(one), _amount(other)))),
    ("sub", "T.D:T", lambda one, other: _plain(_EXACT.subtract(_quantity(one), _amount(other)))),
    ("isLessThan", "T.T:B", lambda one, other: _compared(one, other) < 0),
    ("isGreaterThan", "T.T:B", lambda one, other: _compared(one, other) > 0),
    ("compareTo", "T.T:I", _compared),
)


def extension() -> cel.CelExtension:
    """The functions as an extension of CEL's environment."""
    from cel_expr_python import cel

    types = cel.Type
    letters = {
        "T": types.STRING,
        "B": types.BOOL,
        "I": types.INT,
        "F": types.DOUBLE,
        "D": types.DYN,
        "L": types.List(types.DYN),
    }
    overloads: dict[str, list[cel.Overload]] = {}
    for name, form, does in _FUNCTIONS:
        takes, gives = form.split(":")
        taken = [letters[one] for one in takes if one != "."]
        made = cel.Overload(f"kubernetes_{name}_{form}", letters[gives], taken, "." in takes, does)
        overloads.setdefault(name, []).append(made)
    return cel.CelExtension("kubernetes", [cel.FunctionDecl(name, made) for name, made in overloads.items()])
