"""The question of a gRPC probe: ``grpc.health.v1.Health/Check`` (gRPC documentation, "Health Checking Protocol").

Its messages have one field each: the request is the name of the service (field 1, a string), the answer is a status
(field 1, a number). They are written and read here.
"""

import grpc.aio

CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
STATUSES = {b"": "UNKNOWN", b"\x08\x00": "UNKNOWN", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 4096))


async def check_health(address: str, service: str) -> str:
    """Ask a server about a service; an empty text if it serves, else what is wrong. The caller bounds the time."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        try:
            answer = await call(_request(service))
        except grpc.aio.AioRpcError as error:
            return f"error: health rpc failed: {error.code().name}: {error.details()}"
    if answer == SERVING:
        return ""
    return f'service unhealthy (responded with "{STATUSES.get(answer, answer[:20].hex())}")'


def _request(service: str) -> bytes:
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _varint(number: int) -> bytes:
    """Protocol buffers, "Base 128 Varints"."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])
