"""The messages of ``istio.v1.auth.IstioCertificateService``, as values.

The wire form is protobuf (field numbers below); it is described at run time, so that no generated code has to be kept
in step with the protobuf library. A request's ``metadata`` (field 4, a Struct) is neither sent nor looked at.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

CREATE_CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"

_PACKAGE = "istio.v1.auth"
_MAX_SECONDS = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A PEM signing request, and for how long the certificate should hold; zero leaves that to the service."""

    csr: str
    validity: timedelta = timedelta()

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """Read the message; raises ValueError: it is not one.

        A validity beyond ten years is read as ten years, so that it stays a timedelta.
        """
        message = _parsed(_REQUEST, data)
        seconds = max(-1, min(message.validity_duration, _MAX_SECONDS))
        return cls(csr=message.csr, validity=timedelta(seconds=seconds))

    def to_wire(self) -> bytes:
        """The message as bytes."""
        message = _REQUEST(csr=self.csr, validity_duration=int(self.validity.total_seconds()))
        wire: bytes = message.SerializeToString()
        return wire


@dataclass(frozen=True, slots=True)
class CertificateResponse:
    """PEM certificates: the leaf, the intermediates, and the root as the last."""

    cert_chain: tuple[str, ...]

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """Read the message; raises ValueError: it is not one."""
        return cls(cert_chain=tuple(_parsed(_RESPONSE, data).cert_chain))

    def to_wire(self) -> bytes:
        """The message as bytes."""
        wire: bytes = _RESPONSE(cert_chain=self.cert_chain).SerializeToString()
        return wire


def _field(name: str, number: int, kind: "FieldDescriptorProto.Type.ValueType", **more: Any) -> FieldDescriptorProto:
    return FieldDescriptorProto(name=name, number=number, type=kind, **more)


def _message(name: str, *fields: FieldDescriptorProto) -> DescriptorProto:
    return DescriptorProto(name=name, field=fields)


def _message_classes() -> dict[str, Any]:
    field = FieldDescriptorProto
    description = FileDescriptorProto(name="istio_certificate_service.proto", package=_PACKAGE, syntax="proto3")
    description.message_type.extend(
        (
            _message(
                "IstioCertificateRequest",
                _field("csr", 1, field.TYPE_STRING, label=field.LABEL_OPTIONAL),
                _field("validity_duration", 3, field.TYPE_INT64, label=field.LABEL_OPTIONAL),
            ),
            _message(
                "IstioCertificateResponse",
                _field("cert_chain", 1, field.TYPE_STRING, label=field.LABEL_REPEATED),
            ),
        )
    )
    # A pool of its own: another library in this process may describe the same names.
    pool = DescriptorPool()
    pool.Add(description)
    names = [message.name for message in description.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}


def _parsed(message_class: Any, data: bytes) -> Any:
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise ValueError(f"not a message {message_class.DESCRIPTOR.full_name}") from error


_CLASSES = _message_classes()
_REQUEST = _CLASSES["IstioCertificateRequest"]
_RESPONSE = _CLASSES["IstioCertificateResponse"]
