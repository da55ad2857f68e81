"""Objects that the tests of the lab run."""

from typing import Any

WEB = """
import http.server, os, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["POD_NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)
# Who is told to end is still asked for a moment, until everybody knows: with this nobody is turned away.
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0.3, server.shutdown).start())
print("serving", flush=True)
server.serve_forever()
"""

OWN = [
    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
]


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap; ``_`` in a key stands for ``.``."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key.replace("_", "."): value for key, value in data.items()},
    }


def container(*command: str, **fields: Any) -> dict[str, Any]:
    """A container ``c`` with its own address and name in the environment."""
    return {"name": "c", "image": "none", "command": list(command), "env": OWN, **fields}


def pod(namespace: str, name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that ends within a second when it is told to."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def shell(script: str, **fields: Any) -> dict[str, Any]:
    """A container that runs a shell script."""
    return container("sh", "-c", script, **fields)


def web(namespace: str, *, replicas: int = 1) -> list[dict[str, Any]]:
    """An HTTP server that answers with its pod's name: its script in a ConfigMap, a Deployment, a load balancer."""
    server = container(
        "python3",
        "/app/web.py",
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/", "port": "http"}},
        volumeMounts=[{"name": "app", "mountPath": "/app"}],
    )
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [server],
            "volumes": [{"name": "app", "configMap": {"name": "web"}}],
        },
    }
    return [
        config_map(namespace, "web", web_py=WEB),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        },
        service(namespace, "web", type="LoadBalancer", selector={"app": "web"}),
    ]


def service(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A Service with one port, 8000, that leads to 8080."""
    port = {"name": "http", "port": 8000, "targetPort": 8080}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [port], **spec},
    }
