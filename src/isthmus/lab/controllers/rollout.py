"""How many pods each ReplicaSet of a Deployment should have next: the rolling update as a pure function.

Source: Kubernetes documentation, "Deployments", sections on rolling update, maxSurge and maxUnavailable.
"""

import hashlib
import math
from dataclasses import dataclass

import msgspec
from lightkube.models.apps_v1 import DeploymentSpec, RollingUpdateDeployment
from lightkube.models.core_v1 import PodTemplateSpec

HASH_LABEL = "pod-template-hash"
DEFAULT_SHARE = "25%"
# No vowels and no look-alikes, so that a hash never spells a word (Kubernetes does the same for generated names).
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class SetState:
    """What the plan needs of one ReplicaSet; ``0 <= available <= actual``."""

    name: str
    desired: int
    actual: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a rolling update may leave the wished number, in pods."""

    surge: int
    unavailable: int


def template_hash(template: PodTemplateSpec) -> str:
    """Ten characters that stand for a pod template; the same template gives the same characters."""
    digest = hashlib.sha256(msgspec.json.encode(template, order="deterministic")).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def same_template(one: PodTemplateSpec, other: PodTemplateSpec) -> bool:
    """Whether two templates call for the same pods; the hash label that the controller adds does not count."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: PodTemplateSpec) -> object:
    plain = msgspec.to_builtins(template)
    plain.get("metadata", {}).get("labels", {}).pop(HASH_LABEL, None)
    return plain


def bounds(rolling: RollingUpdateDeployment | None, replicas: int) -> Bounds:
    """maxSurge (rounded up) and maxUnavailable (rounded down) in pods; both zero would never move, so one may go."""
    surge = _pods(rolling.maxSurge if rolling else None, replicas, round_up=True)
    unavailable = _pods(rolling.maxUnavailable if rolling else None, replicas, round_up=False)
    return Bounds(surge=surge, unavailable=1 if surge == unavailable == 0 else unavailable)


def _pods(value: int | str | None, replicas: int, *, round_up: bool) -> int:
    text = str(DEFAULT_SHARE if value is None else value)
    if not text.endswith("%"):
        return int(text)
    share = replicas * int(text[:-1]) / 100
    return math.ceil(share) if round_up else math.floor(share)


def plan(spec: DeploymentSpec, *, new: SetState, old: list[SetState]) -> dict[str, int]:
    """The next ``spec.replicas`` for each ReplicaSet whose number must change, by name."""
    replicas = 1 if spec.replicas is None else spec.replicas
    if spec.paused:
        return _changed({new.name: replicas} if not any(s.desired for s in old) else {}, [new])
    if spec.strategy is not None and spec.strategy.type == "Recreate":
        return _recreate(replicas, new=new, old=old)
    limits = bounds(spec.strategy.rollingUpdate if spec.strategy else None, replicas)
    return _roll(replicas, limits, new=new, old=old)


def _recreate(replicas: int, *, new: SetState, old: list[SetState]) -> dict[str, int]:
    if any(state.actual for state in old) or any(state.desired for state in old):
        return _changed({state.name: 0 for state in old}, old)
    return _changed({new.name: replicas}, [new])


def _roll(replicas: int, limits: Bounds, *, new: SetState, old: list[SetState]) -> dict[str, int]:
    room = replicas + limits.surge - sum(state.desired for state in [new, *old])
    wished = min(replicas, new.desired + max(0, room))
    targets = _shrink(replicas - limits.unavailable, new=new, old=old)
    targets[new.name] = wished
    return _changed(targets, [new, *old])


def _shrink(min_available: int, *, new: SetState, old: list[SetState]) -> dict[str, int]:
    """Take pods from the old sets: those that are not available first, then others as long as enough stay available."""
    new_missing = new.desired - min(new.available, new.desired)
    budget = max(0, sum(state.desired for state in [new, *old]) - min_available - new_missing)
    targets = {}
    for state in old:
        sick = min(state.desired - min(state.available, state.desired), budget)
        targets[state.name] = state.desired - sick
        budget -= sick
    spare = max(0, sum(state.available for state in [new, *old]) - min_available)
    for state in old:
        healthy = min(targets[state.name], budget, spare)
        targets[state.name] -= healthy
        budget -= healthy
        spare -= healthy
    return targets


def _changed(targets: dict[str, int], states: list[SetState]) -> dict[str, int]:
    current = {state.name: state.desired for state in states}
    return {name: wished for name, wished in targets.items() if current.get(name) != wished}
