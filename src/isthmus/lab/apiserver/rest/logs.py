"""The log subresource of pods: a container's output, out of the port that the node fills."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from isthmus.lab.apiserver.errors import StatusError, bad_request, method_not_allowed
from isthmus.lab.apiserver.kinds.columns import at, parse_time
from isthmus.lab.apiserver.objects import metadata
from isthmus.lab.apiserver.rest.answers import Stream
from isthmus.lab.apiserver.rest.options import truth, whole_number
from isthmus.lab.apiserver.rest.reading import get_stored
from isthmus.lab.apiserver.rest.services import Call, Services
from isthmus.lab.pod_logs import LogRequest, limited

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def pod_log(services: Services, call: Call) -> Stream:
    """GET of ``/log``. Raises StatusError (400) for a container that there is not, or that has no log."""
    if call.method != "GET":
        raise method_not_allowed()
    pod = get_stored(services.store.state, call.target).object()
    container = chosen_container(pod, call.query.get("container", ""))
    if services.logs is None:
        raise StatusError(503, "ServiceUnavailable", "no node of this cluster gives logs")
    if not at(pod, "spec.nodeName"):
        raise bad_request(f"pod {call.target.name} does not have a host assigned")
    wanted = LogRequest(
        namespace=call.target.namespace,
        pod=call.target.name,
        uid=str(metadata(pod)["uid"]),
        container=container,
        follow=truth(call.query, "follow"),
        tail_lines=whole_number(call.query, "tailLines"),
        since=_since(call.query, services.clock()),
        timestamps=truth(call.query, "timestamps"),
        previous=truth(call.query, "previous"),
    )
    try:
        lines = await services.logs.open(wanted)
    except LookupError as error:
        raise bad_request(str(error.args[0]) if error.args else "the container has no log") from error
    limit = whole_number(call.query, "limitBytes")
    return Stream(limited(lines, limit), media_type="text/plain", stopping=services.stopping)


def chosen_container(pod: Mapping[str, Any], wanted: str) -> str:
    """The container that is meant. Raises StatusError (400)."""
    name = at(pod, "metadata.name", "")
    names = [one["name"] for one in at(pod, "spec.containers", ())]
    everything = [*names, *(one["name"] for one in at(pod, "spec.initContainers", ()))]
    wanted = wanted or (at(pod, "metadata.annotations", {}) or {}).get(DEFAULT_CONTAINER, "")
    if not wanted and len(names) == 1:
        return str(names[0])
    if not wanted:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    if wanted not in everything:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    return wanted


def _since(query: Mapping[str, str], now: datetime) -> datetime | None:
    seconds = whole_number(query, "sinceSeconds")
    if seconds is not None:
        return now - timedelta(seconds=seconds)
    text = query.get("sinceTime", "")
    moment = parse_time(text) if text else None
    if text and moment is None:
        raise bad_request(f'sinceTime: Invalid value: "{text[:40]}": expected a time such as 2006-01-02T15:04:05Z')
    return moment
