"""What a DNS question is answered with (RFC 1034 §4.3.2, RFC 2308 for names and types that do not exist)."""

import random
from enum import Enum

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from isthmus.lab.dns.records import CLUSTER_DOMAIN, Records

TTL_S = 5
MOST_ALIASES = 8


class Verdict(Enum):
    """Whose a name is."""

    OURS = "ours"
    ELSEWHERE = "elsewhere"


def plain(name: dns.name.Name) -> str:
    """A name as text, in lower case and without the last dot."""
    return name.to_text(omit_final_dot=True).lower()


def within(name: str, zone: str) -> bool:
    """Whether a name is a zone's own or below it."""
    return name == zone or name.endswith(f".{zone}")


def canonical(name: str, found: Records) -> str:
    """A name as the records have it: ``<service>.<namespace>`` and ``<service>.<namespace>.svc`` are understood."""
    if name in found.names:
        return name
    labels = name.split(".")
    short = ".".join(labels[:-1]) if labels[-1] == "svc" else name
    full = f"{short}.svc.{CLUSTER_DOMAIN}"
    return full if short.count(".") == 1 and full in found.names else name


def verdict(name: str, found: Records, *, apps_domain: str) -> Verdict:
    """Whether the records of this cluster are the last word on a name."""
    known = canonical(name, found)
    ours = within(known, CLUSTER_DOMAIN) or within(known, apps_domain)
    return Verdict.OURS if ours else Verdict.ELSEWHERE


def answer(query: dns.message.Message, found: Records, *, apps_domain: str) -> dns.message.Message:
    """The answer to a question about one of our names."""
    question = query.question[0]
    response = _response(query, dns.rcode.NOERROR)
    response.flags |= dns.flags.AA
    name = canonical(plain(question.name), found)
    owner = question.name
    for _ in range(MOST_ALIASES):
        if name not in found.aliases:
            break
        target = found.aliases[name]
        response.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", "CNAME", f"{target}."))
        name, owner = target, dns.name.from_text(target)
    texts = _data(name, question.rdtype, found)
    if texts:
        response.answer.append(dns.rrset.from_text_list(owner, TTL_S, "IN", question.rdtype, texts))
    elif not response.answer:
        if name not in found.names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(_soa(name, apps_domain))
    return response


def _data(name: str, kind: dns.rdatatype.RdataType, found: Records) -> list[str]:
    if kind == dns.rdatatype.A:
        addresses = sorted(found.addresses.get(name, ()))
        random.shuffle(addresses)  # resolvers that take the first one spread over all of them
        return addresses
    if kind == dns.rdatatype.SRV:
        return [f"0 100 {srv.port} {srv.target}." for srv in sorted(found.services.get(name, ()))]
    return []


def _soa(name: str, apps_domain: str) -> dns.rrset.RRset:
    zone = apps_domain if within(name, apps_domain) else CLUSTER_DOMAIN
    text = f"ns.dns.{zone}. hostmaster.{zone}. 1 7200 1800 86400 {TTL_S}"
    return dns.rrset.from_text(f"{zone}.", TTL_S, "IN", "SOA", text)


def _response(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    return response


def refusal(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    """An answer that is only a response code."""
    return _response(query, rcode)


def acceptable(query: dns.message.Message) -> dns.rcode.Rcode:
    """NOERROR if this server understands the question, else the code to answer with."""
    if query.opcode() != 0:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.question[0].rdclass != dns.rdataclass.IN:
        return dns.rcode.REFUSED
    return dns.rcode.NOERROR
