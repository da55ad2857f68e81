"""``ImportedServiceSet``: which Services that the peer of the same name exports are used here, and how named."""

from typing import Annotated, ClassVar, Literal

from lightkube.core.resource import NamespacedResourceG, NamespacedSubResource
from msgspec import Meta

from isthmus.api.meta import Conditions, Count, Envelope, ObservedGeneration, Part, api_info, status_info
from isthmus.api.selectors import NameSelector, ServiceMappings

DomainSuffix = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$",
        max_length=253,
    ),
]


class Locality(Part, frozen=True, kw_only=True):
    """Where the endpoints of the imported Services count as being."""

    region: Annotated[str, Meta(description="The region.")] = ""
    zone: Annotated[str, Meta(description="The zone within the region, which must then be given.")] = ""
    subzone: Annotated[str, Meta(description="The part of the zone, which must then be given.")] = ""


class ImportRule(Part, frozen=True, kw_only=True):
    """Imports the Services that it selects."""

    type: Annotated[Literal["NameSelector"], Meta(description="How the rule selects: by nameSelector.")]
    import_as_local: Annotated[
        bool,
        Meta(
            description="Use the Service as <name>.<namespace>.svc.cluster.local, together with the local Service of "
            "that name, if there is one. nameSelector.alias.namespace must then be given."
        ),
    ] = False
    domain_suffix: Annotated[
        DomainSuffix, Meta(description="The names are <name>.<namespace>.<this>, rather than the set's.")
    ] = ""
    name_selector: Annotated[
        NameSelector | None, Meta(description="Selects by the names under which the peer exports.")
    ] = None


class ImportsSpec(Part, frozen=True, kw_only=True):
    """What is imported."""

    domain_suffix: Annotated[
        DomainSuffix,
        Meta(description="The names are <name>.<namespace>.<this>; svc.<peer>-imports.local if it is left out."),
    ] = ""
    locality: Locality | None = None
    import_rules: Annotated[
        tuple[
            Annotated[
                ImportRule,
                Meta(
                    extra_json_schema={
                        "x-kubernetes-validations": [
                            {
                                "rule": "self.type != 'NameSelector' || has(self.nameSelector)",
                                "message": "nameSelector is required for a rule of type NameSelector",
                            }
                        ]
                    }
                ),
            ],
            ...,
        ]
        | None,
        Meta(
            description="The rules, in order: the first that matches a Service decides. None: nothing is imported.",
            extra_json_schema={"x-kubernetes-list-type": "atomic", "maxItems": 10_000},
        ),
    ] = None


class ImportsStatus(Part, frozen=True, kw_only=True):
    """What the peer exports to this mesh at present, and what of it is imported."""

    imported_services: Annotated[
        ServiceMappings,
        Meta(description="What the peer exports; localService is empty for what no rule imports."),
    ] = None
    imported: Annotated[Count | None, Meta(description="How many of them are imported.")] = None
    offered: Annotated[Count | None, Meta(description="How many the peer exports.")] = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None


class ImportsModel(Envelope, frozen=True, kw_only=True):
    """The fields of the kind that its administrator writes, whichever way it is served."""

    spec: ImportsSpec = ImportsSpec()


_INFO = api_info("federation.maistra.io", "v1", "ImportedServiceSet", plural="importedservicesets")


class ImportedServiceSetStatusView(NamespacedSubResource, ImportsModel, frozen=True, kw_only=True):
    """The ``status`` subresource of an ImportedServiceSet."""

    _api_info = status_info(_INFO)
    status: ImportsStatus | None = None


class ImportedServiceSet(NamespacedResourceG, ImportsModel, frozen=True, kw_only=True):
    """The Services of a peer that are used here. Its name is that of the ServiceMeshPeer that it is for."""

    _api_info = _INFO
    Status: ClassVar = ImportedServiceSetStatusView
    status: ImportsStatus | None = None
