"""Environment variables and command lines."""

import pytest
from lightkube.models.core_v1 import (
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    SecretEnvSource,
    SecretKeySelector,
)
from tests.lab.node.sample import sources

from isthmus.lab.node.environment import command_line, environment, expand
from isthmus.lab.node.sources import MissingSourceError

MOUNTS = {"/etc/conf": "/real/conf"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x-$(A)-$(B)-y", "x-1-2-y"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
    ],
    ids=["one", "several", "unknown", "escaped", "escape, then a reference", "a shell's own", "open", "empty"],
)
def test_expand(text: str, expected: str) -> None:
    """``$(NAME)`` is replaced if it is known, ``$$`` is a dollar, and all else is left alone."""
    assert expand(text, {"A": "1", "B": "2"}) == expected


def variable(name: str, **source: object) -> EnvVar:
    return EnvVar(name=name, valueFrom=EnvVarSource(**source))  # type: ignore[arg-type]  # one field of many


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['tier']", "front"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("metadata.annotations", 'note="a \\"quoted\\"\\nline"'),
        ("spec.serviceAccountName", "seller"),
        ("spec.nodeName", "node-1"),
        ("status.podIP", "127.17.0.2"),
        ("status.hostIP", "127.16.0.1"),
    ],
)
def test_fields(path: str, expected: str) -> None:
    """A fieldRef tells the pod about itself."""
    container = Container(name="c", env=[variable("V", fieldRef=ObjectFieldSelector(fieldPath=path))])
    assert environment(container, sources(), base={}, mounts={}) == {"V": expected}


def test_unknown_field() -> None:
    """A field that the downward API does not have is refused with the list of those it has."""
    container = Container(name="c", env=[variable("V", fieldRef=ObjectFieldSelector(fieldPath="spec.hostname"))])
    with pytest.raises(LookupError, match=r"'spec\.hostname'.*metadata\.name"):
        environment(container, sources(), base={}, mounts={})


def test_sources_in_order() -> None:
    """``env`` wins over ``envFrom``, which wins over the base; a variable may refer to those before it."""
    container = Container(
        name="c",
        envFrom=[
            EnvFromSource(configMapRef=ConfigMapEnvSource(name="all")),
            EnvFromSource(prefix="S_", secretRef=SecretEnvSource(name="hidden")),
        ],
        env=[
            EnvVar(name="A", value="own"),
            EnvVar(name="REF", value="$(A) $(S_KEY) $(LATER) $(BASE)"),
            EnvVar(name="LATER", value="x"),
            variable("KEY", configMapKeyRef=ConfigMapKeySelector(name="all", key="B")),
            variable("SECRET", secretKeyRef=SecretKeySelector(name="hidden", key="KEY")),
            variable("NONE", secretKeyRef=SecretKeySelector(name="none", key="KEY", optional=True)),
        ],
    )
    found = environment(
        container,
        sources(maps={"all": {"A": "map", "B": "b"}}, secrets={"hidden": {"KEY": "s"}}),
        base={"A": "base", "BASE": "base"},
        mounts={},
    )
    assert found == {
        "A": "own",
        "BASE": "base",
        "B": "b",
        "S_KEY": "s",
        "REF": "own s $(LATER) base",
        "LATER": "x",
        "KEY": "b",
        "SECRET": "s",
    }


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [("none", "B", 'configmap "none" not found'), ("all", "X", "couldn't find key X in configmap all")],
    ids=["no map", "no key"],
)
def test_missing(name: str, key: str, message: str) -> None:
    """A missing source is told by name, so that the pod can wait for it."""
    container = Container(name="c", env=[variable("V", configMapKeyRef=ConfigMapKeySelector(name=name, key=key))])
    with pytest.raises(MissingSourceError, match=message):
        environment(container, sources(maps={"all": {"B": "b"}}), base={}, mounts={})


def test_paths_are_led_to_their_mounts_once() -> None:
    """A literal path is led to its volume; a variable that already has been is not led again."""
    container = Container(
        name="c",
        command=["run", "--config=/etc/conf/a.yaml", "$(FILE)"],
        args=["$(WHO)"],
        env=[EnvVar(name="FILE", value="/etc/conf/b.yaml"), EnvVar(name="WHO", value="me")],
        workingDir="/etc/conf",
    )
    mounts = {"/etc/conf": "/etc/conf/real"}  # the worst case: the real place begins with the mount path
    env = environment(container, sources(), base={}, mounts=mounts)
    line = command_line(container, env, mounts=mounts, home="/home")
    assert line.argv == ["run", "--config=/etc/conf/real/a.yaml", "/etc/conf/real/b.yaml", "me"]
    assert line.env == {"FILE": "/etc/conf/real/b.yaml", "WHO": "me"}
    assert line.cwd == "/etc/conf/real"


def test_no_command() -> None:
    """Without a command there is nothing to run, and the message says what to do."""
    with pytest.raises(ValueError, match=r"'c'.*say in 'command' what to run"):
        command_line(Container(name="c", image="nginx"), {}, mounts={}, home="/")
