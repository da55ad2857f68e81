"""The rolling update: single steps as a table, whole rollouts as a property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta

from isthmus.lab.controllers.rollout import (
    HASH_LABEL,
    Bounds,
    SetState,
    bounds,
    plan,
    same_template,
    template_hash,
)


def spec(replicas: int, *, surge: int | str | None = None, unavailable: int | str | None = None) -> DeploymentSpec:
    rolling = RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
    return DeploymentSpec(
        replicas=replicas,
        selector=LabelSelector(),
        template=PodTemplateSpec(),
        strategy=DeploymentStrategy(type="RollingUpdate", rollingUpdate=rolling),
    )


def state(name: str, desired: int, available: int | None = None) -> SetState:
    return SetState(name=name, desired=desired, actual=desired, available=desired if available is None else available)


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        (None, None, 4, Bounds(surge=1, unavailable=1)),
        (None, None, 2, Bounds(surge=1, unavailable=0)),
        ("30%", "30%", 10, Bounds(surge=3, unavailable=3)),
        (2, 0, 10, Bounds(surge=2, unavailable=0)),
        (0, 0, 10, Bounds(surge=0, unavailable=1)),
        ("0%", "1%", 10, Bounds(surge=0, unavailable=1)),
    ],
    ids=["defaults of 4", "defaults of 2", "percent", "numbers", "both zero", "both round to zero"],
)
def test_bounds(surge: int | str | None, unavailable: int | str | None, replicas: int, expected: Bounds) -> None:
    """Surge is rounded up, unavailability down, and both zero still leaves one pod to be replaced."""
    assert bounds(RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable), replicas) == expected


@pytest.mark.parametrize(
    ("wished", "new", "old", "expected"),
    [
        (3, state("new", 0), [], {"new": 3}),
        (3, state("new", 3), [], {}),
        (1, state("new", 3), [], {"new": 1}),
        (4, state("new", 0), [state("old", 4)], {"new": 1, "old": 3}),
        (4, state("new", 1, 0), [state("old", 3)], {"new": 2}),
        (2, state("new", 0), [state("old", 2)], {"new": 1}),
        (2, state("new", 1, 0), [state("old", 2)], {}),
        (2, state("new", 1), [state("old", 2)], {"old": 1}),
        (2, state("new", 0), [state("old", 2, 0)], {"new": 1}),
        (0, state("new", 2), [state("old", 1)], {"new": 0, "old": 0}),
    ],
    ids=[
        "first set",
        "nothing to do",
        "scale down",
        "begin of 4",
        "wait for the new one, surge more",
        "begin of 2: nothing may be missing",
        "wait for the new one",
        "the new one is there",
        "the old ones are sick, none may be missing",
        "to zero",
    ],
)
def test_one_step(wished: int, new: SetState, old: list[SetState], expected: dict[str, int]) -> None:
    """One step changes as much as the bounds allow."""
    assert plan(spec(wished), new=new, old=old) == expected


def test_recreate_waits_for_the_old() -> None:
    """With strategy Recreate no new pod is made while one of the old is there."""
    recreate = spec(2)
    recreate.strategy = DeploymentStrategy(type="Recreate")
    going = SetState(name="old", desired=0, actual=1, available=0)
    assert plan(recreate, new=state("new", 0), old=[state("old", 2)]) == {"old": 0}
    assert plan(recreate, new=state("new", 0), old=[going]) == {}
    assert plan(recreate, new=state("new", 0), old=[state("old", 0)]) == {"new": 2}


def test_paused_only_scales_what_is_alone() -> None:
    """A paused Deployment does not move pods from one version to another."""
    paused = spec(3)
    paused.paused = True
    assert plan(paused, new=state("new", 1), old=[state("old", 2)]) == {}
    assert plan(paused, new=state("new", 1), old=[state("old", 0)]) == {"new": 3}


@given(
    replicas=st.integers(0, 12),
    surge=st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "100%"])),
    unavailable=st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "100%"])),
    pods=st.lists(st.integers(0, 6), max_size=3),
)
def test_a_rollout_ends_and_stays_within_its_bounds(
    replicas: int, surge: int | str, unavailable: int | str, pods: list[int]
) -> None:
    """Step by step, with every pod becoming available, all pods are of the new set in the end, and never too many."""
    wish = spec(replicas, surge=surge, unavailable=unavailable)
    limits = bounds(wish.strategy.rollingUpdate if wish.strategy else None, replicas)
    now = {"new": 0} | {f"old{number}": count for number, count in enumerate(pods)}
    most = max(replicas + limits.surge, sum(now.values()))
    for _ in range(200):
        states = {name: state(name, count) for name, count in now.items()}
        changes = plan(wish, new=states.pop("new"), old=list(states.values()))
        if not changes:
            break
        before = sum(now.values())
        now |= changes
        assert sum(now.values()) <= most
        # What is available right after the step: new pods are not yet, so only the old ones that stay count.
        assert min(before, sum(now.values())) >= min(before, replicas - limits.unavailable)
    assert now == {name: replicas if name == "new" else 0 for name in now}


def template(image: str, labels: dict[str, str]) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=[Container(name="c", image=image)])
    )


def test_the_hash_label_does_not_make_a_template_another() -> None:
    """Templates are the same if they differ in the controller's own label only."""
    assert same_template(template("a", {"x": "y"}), template("a", {"x": "y", HASH_LABEL: "z"}))
    assert not same_template(template("a", {"x": "y"}), template("b", {"x": "y"}))


def test_the_hash_is_the_templates() -> None:
    """The same template has the same hash, another one another."""
    assert template_hash(template("a", {"x": "y"})) == template_hash(template("a", {"x": "y"}))
    assert template_hash(template("a", {"x": "y"})) != template_hash(template("b", {"x": "y"}))
