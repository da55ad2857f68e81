"""What is served right now: the built-in kinds and those of the established CustomResourceDefinitions.

A value that is replaced as a whole when a definition changes; ``generation`` counts the replacements, so that answers
derived from it (discovery, OpenAPI) can be kept until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from isthmus.lab.apiserver.kinds.builtin import RESOURCES
from isthmus.lab.apiserver.kinds.custom import custom_resources
from isthmus.lab.apiserver.kinds.resource import Resource
from isthmus.lab.apiserver.objects import Object

_CORE_ORDER = {group: place for place, group in enumerate(("", "apps", "events.k8s.io", "authentication.k8s.io"))}


class Registry:
    """The served resources by path and by kind."""

    def __init__(self) -> None:
        self.generation = 0
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        self.resources: tuple[Resource, ...] = ()
        self._definitions: dict[str, Object] = {}
        self._rebuild()

    def define(self, name: str, definition: Object | None) -> None:
        """Take over one CustomResourceDefinition as it is now stored; None when it is gone."""
        if definition is None:
            self._definitions.pop(name, None)
        else:
            self._definitions[name] = definition
        self._rebuild()

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def of_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, version, kind))

    def serves(self, group: str, version: str) -> bool:
        return any(one.group == group and one.version == version for one in self.resources)

    def definition_of(self, resource: Resource) -> Object | None:
        return self._definitions.get(resource.group_resource)

    def by_storage(self, group_resource: str) -> Resource | None:
        """The preferred version of what is stored under that name, as it is stored."""
        return next((one for one in self.resources if one.storage == group_resource and one.view is None), None)

    def versions(self) -> Iterable[tuple[str, list[tuple[str, list[Resource]]]]]:
        """Groups, their versions in order of preference, and the resources of each."""
        for group, members in groupby(self.resources, key=lambda one: one.group):
            found = list(members)
            names = list(dict.fromkeys(one.version for one in found))
            yield (
                group,
                [(name, [one for one in found if one.version == name]) for name in sorted(names, key=version_rank)],
            )

    def _rebuild(self) -> None:
        custom = [one for _, definition in sorted(self._definitions.items()) for one in custom_resources(definition)]
        everything = [*RESOURCES, *custom]
        everything.sort(key=lambda one: (_CORE_ORDER.get(one.group, 99 + one.custom), one.group))
        self.resources = tuple(everything)
        self._by_path = {(one.group, one.version, one.plural): one for one in everything}
        self._by_kind = {(one.group, one.version, one.kind): one for one in everything}
        self.generation += 1


def version_rank(version: str) -> tuple[int, int, int, str]:
    """The order of preference: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name.

    Source: Kubernetes documentation, "Versions in CustomResourceDefinitions", version priority.
    """
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not match:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")
