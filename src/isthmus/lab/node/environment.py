"""The environment and command line of a container, as functions of its spec and its sources.

Source: Kubernetes documentation, "Define Dependent Environment Variables" and core/v1 EnvVar, EnvFromSource.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import Container, EnvVar, EnvVarSource

from isthmus.lab.node.mounts import rewrite
from isthmus.lab.node.sources import MissingSourceError, Sources

REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What is executed: the program with its arguments, its environment and its working directory."""

    argv: list[str]
    env: dict[str, str]
    cwd: str


def expand(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value, left as it is if there is none; ``$$`` is one ``$``."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else env.get(name, found.group(0))

    return REFERENCE.sub(value, text)


def expand_all(text: str, env: Mapping[str, str]) -> str:
    """As :func:`expand`; raises LookupError for a variable that there is not."""
    absent = [name for name in REFERENCE.findall(text) if name and name not in env]
    if absent:
        raise LookupError(f"Expanding {text!r}: the container has no variable {absent[0]}")
    return expand(text, env)


def environment(
    container: Container, sources: Sources, *, base: Mapping[str, str], mounts: Mapping[str, str]
) -> dict[str, str]:
    """All variables of a container: ``base``, then ``envFrom``, then ``env`` in order; paths led to their mounts.

    Raises MissingSourceError for a ConfigMap, Secret or key that is not there, LookupError for an unknown field.
    """
    env = dict(base)
    for source in container.envFrom or []:
        prefix = source.prefix or ""
        if source.configMapRef is not None:
            values = sources.config_map(source.configMapRef.name or "", optional=bool(source.configMapRef.optional))
        elif source.secretRef is not None:
            values = sources.secret(source.secretRef.name or "", optional=bool(source.secretRef.optional))
        else:
            continue
        env |= {prefix + key: rewrite(value.decode(errors="replace"), mounts) for key, value in values.items()}
    for variable in container.env or []:
        value = _value(variable, container, sources, env, mounts)
        if value is not None:
            env[variable.name] = value
    return env


def _value(
    variable: EnvVar, container: Container, sources: Sources, env: Mapping[str, str], mounts: Mapping[str, str]
) -> str | None:
    if variable.valueFrom is None:
        return expand(rewrite(variable.value or "", mounts), env)
    value = _referred(variable, container, sources)
    return rewrite(value, mounts) if value is not None else None


def _referred(variable: EnvVar, container: Container, sources: Sources) -> str | None:
    source = variable.valueFrom or EnvVarSource()
    if source.fieldRef is not None:
        return sources.field(source.fieldRef.fieldPath)
    if source.resourceFieldRef is not None:
        return sources.resource(source.resourceFieldRef, container=container.name)
    if (config := source.configMapKeyRef) is not None:
        values = sources.config_map(config.name or "", optional=bool(config.optional))
        return _key(values, config.key, "configmap", config)
    if (secret := source.secretKeyRef) is not None:
        values = sources.secret(secret.name or "", optional=bool(secret.optional))
        return _key(values, secret.key, "secret", secret)
    raise LookupError(
        f"Setting {variable.name}: this node knows fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef only"
    )


def _key(values: Mapping[str, bytes], key: str, kind: str, ref: object) -> str | None:
    if key in values:
        return values[key].decode(errors="replace")
    if getattr(ref, "optional", False):
        return None
    raise MissingSourceError(f"couldn't find key {key} in {kind} {getattr(ref, 'name', '')}")


def command_line(container: Container, env: Mapping[str, str], *, mounts: Mapping[str, str], home: str) -> CommandLine:
    """The command with its arguments, variables expanded and paths led to their mounts.

    Raises ValueError if the container has no command: images are not pulled, so there is none to take it from.
    """
    if not container.command:
        raise ValueError(
            f"Starting container {container.name!r}: it has no command; images are not pulled here, so say in "
            "'command' what to run on this machine"
        )
    words = [*container.command, *(container.args or [])]
    argv = [expand(rewrite(word, mounts), env) for word in words]
    cwd = rewrite(container.workingDir, mounts) if container.workingDir else home
    return CommandLine(argv=argv, env=dict(env), cwd=cwd)
