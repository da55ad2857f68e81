"""A plan as files for GitOps: a folder for each mesh, each file as ``kubectl apply`` takes it.

No status and no field that a server fills in. Addresses that are not known yet are in no file: write again when the
gateways are there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isthmus.doctor.linking.plan import Plan, Step, Verb


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one file; KEEP if it was so already."""

    verb: Verb
    path: Path


def write_files(plan: Plan, folder: Path) -> list[Written]:
    """Write every object that a link wants; files of other names are left alone. Raises OSError."""
    return [_write(folder / step.mesh / _file_name(step), step.whole) for step in plan.steps if step.whole is not None]


def _file_name(step: Step) -> str:
    return f"{step.kind.lower()}-{step.name}.yaml"


def _write(path: Path, content: Any) -> Written:
    text = to_yaml(content)
    before = path.read_text() if path.exists() else None
    if before == text:
        return Written(Verb.KEEP, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Written(Verb.CREATE if before is None else Verb.CHANGE, path)


class _Dumper(yaml.SafeDumper):
    """Without anchors, which people do not read; certificates as blocks of lines."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(content: Any) -> str:
    """One document, its fields in the order in which they are given."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)
    return text
