"""``ExportedServiceSet``: which Services of this mesh the peer of the same name may use, and under which names."""

from typing import Annotated, ClassVar, Literal

from lightkube.core.resource import NamespacedResourceG, NamespacedSubResource
from msgspec import Meta

from isthmus.api.meta import Conditions, Count, Envelope, ObservedGeneration, Part, api_info, status_info
from isthmus.api.selectors import LabelledServices, NameSelector, ServiceMappings


class ExportRule(Part, frozen=True, kw_only=True):
    """Exports the Services that it selects."""

    type: Annotated[
        Literal["NameSelector", "LabelSelector"],
        Meta(description="How the rule selects: NameSelector or LabelSelector, with the field of that name."),
    ]
    name_selector: NameSelector | None = None
    label_selector: LabelledServices | None = None


class ExportsSpec(Part, frozen=True, kw_only=True):
    """What is exported."""

    export_rules: Annotated[
        tuple[
            Annotated[
                ExportRule,
                Meta(
                    extra_json_schema={
                        "x-kubernetes-validations": [
                            {
                                "rule": "self.type != 'NameSelector' || has(self.nameSelector)",
                                "message": "nameSelector is required for a rule of type NameSelector",
                            },
                            {
                                "rule": "self.type != 'LabelSelector' || has(self.labelSelector)",
                                "message": "labelSelector is required for a rule of type LabelSelector",
                            },
                        ]
                    }
                ),
            ],
            ...,
        ]
        | None,
        Meta(
            description="The rules, in order: the first that matches a Service decides. None: nothing is exported.",
            extra_json_schema={"x-kubernetes-list-type": "atomic", "maxItems": 10_000},
        ),
    ] = None


class ExportsStatus(Part, frozen=True, kw_only=True):
    """What is exported at present."""

    exported_services: Annotated[ServiceMappings, Meta(description="The exported Services.")] = None
    exported: Annotated[Count | None, Meta(description="How many they are.")] = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None


class ExportsModel(Envelope, frozen=True, kw_only=True):
    """The fields of the kind that its administrator writes, whichever way it is served."""

    spec: ExportsSpec = ExportsSpec()


_INFO = api_info("federation.maistra.io", "v1", "ExportedServiceSet", plural="exportedservicesets")


class ExportedServiceSetStatusView(NamespacedSubResource, ExportsModel, frozen=True, kw_only=True):
    """The ``status`` subresource of an ExportedServiceSet."""

    _api_info = status_info(_INFO)
    status: ExportsStatus | None = None


class ExportedServiceSet(NamespacedResourceG, ExportsModel, frozen=True, kw_only=True):
    """The Services that a peer may use. Its name is that of the ServiceMeshPeer that it is for."""

    _api_info = _INFO
    Status: ClassVar = ExportedServiceSetStatusView
    status: ExportsStatus | None = None
