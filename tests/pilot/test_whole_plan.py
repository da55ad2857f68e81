"""The whole plan against a model: after any creates, changes, deletes, restarts and disconnections, in any order, all
that red's control plane makes is what an obvious slow model says, and nothing is left over.

``make stories`` tells more of them.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lightkube.resources.core_v1 import ConfigMap, Service
from tests.pilot.red import EGRESS_IP
from tests.pilot.whole_model import EXPORTS, IMPORTS, OFFERS, SERVICES, LocalService, Model, Name, Offer
from tests.pilot.whole_world import World

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshPeer

STORIES = int(os.environ.get("STORIES", "4"))
STEPS = 20
PATIENCE_S = 10.0

ports = st.sampled_from([(9080,), (9081,), (9080, 9081)])


class WholePlan(RuleBasedStateMachine):
    """Each step is carried out in the world and in the model; then the world must come to what the model says."""

    world: World

    @initialize(
        is_in_use=st.sampled_from([True, True, False]),
        exports=st.sampled_from(sorted(EXPORTS)),
        imports=st.sampled_from(sorted(IMPORTS)),
    )
    def begin(self, is_in_use: bool, exports: str, imports: str) -> None:
        """Nothing is there, or everything is shared both ways, so that few steps are needed to take something away."""
        self.model = Model(egress=EGRESS_IP)
        self.ports: dict[tuple[str, int], int] = {}
        self.world.run(self.world.clear())
        self.world.run(self.world.red.move_egress(EGRESS_IP))
        self.model.start()
        if is_in_use:
            self.root(is_known=True)
            self.peer("egress-red-mesh")
            self.exports(exports)
            self.imports(imports)
            for name in SERVICES:
                self.service(name, LocalService((9080,), is_front=True))
            for name in OFFERS:
                self.offer(name, Offer())
            self.link(is_up=True)

    @rule(name=st.sampled_from(SERVICES), service=st.none() | st.builds(LocalService, ports, st.booleans()))
    def service(self, name: Name, service: LocalService | None) -> None:
        """A Service of red is new, or another, or (None) gone."""
        if service is None:
            self.model.services.pop(name, None)
            self.world.run(self.world.delete(Service, name[1], name[0]))
        else:
            self.model.services[name] = service
            self.world.run(self.world.put_service(name, service.ports, is_front=service.is_front))

    @rule(rules=st.none() | st.sampled_from(sorted(EXPORTS)))
    def exports(self, rules: str | None) -> None:
        """The export set is new, or another, or (None) gone."""
        self.model.exports = rules
        if rules is None:
            self.world.run(self.world.delete(ExportedServiceSet, "green-mesh"))
        else:
            self.world.run(self.world.put_set(ExportedServiceSet, "exportRules", EXPORTS[rules][0]))

    @rule(rules=st.none() | st.sampled_from(sorted(IMPORTS)))
    def imports(self, rules: str | None) -> None:
        """The import set is new, or another, or (None) gone."""
        self.model.imports = rules
        if rules is None:
            self.world.run(self.world.delete(ImportedServiceSet, "green-mesh"))
        else:
            self.world.run(self.world.put_set(ImportedServiceSet, "importRules", IMPORTS[rules][0]))

    @rule(account=st.sampled_from(["egress-red-mesh", "another", None]))
    def peer(self, account: str | None) -> None:
        """The peer is new, or another identity speaks for it, or (None) it is gone."""
        self.model.has_peer = account is not None
        if account is None:
            self.world.run(self.world.delete(ServiceMeshPeer, "green-mesh"))
        else:
            client = f"green-mesh.local/ns/green-mesh-system/sa/{account}-service-account"
            self.world.run(self.world.put_peer(client))

    @rule(is_known=st.booleans())
    def root(self, is_known: bool) -> None:
        """The peer's root becomes known, or is taken away and with it the right to everything."""
        self.model.has_root = is_known
        if is_known:
            self.world.run(self.world.put_root())
        else:
            self.world.run(self.world.delete(ConfigMap, "green-mesh-ca-root-cert"))

    @rule(name=st.sampled_from(OFFERS), offer=st.none() | st.builds(Offer, ports, st.sampled_from([None, 0, 1])))
    def offer(self, name: Name, offer: Offer | None) -> None:
        """Green exports a service to red, or another one of that name, or (None) no more."""
        if offer is None:
            self.model.offered.pop(name, None)
            self.world.withdraw(name)
        else:
            self.model.offered[name] = offer
            self.world.offer(name, offer)

    @rule(is_up=st.booleans())
    def link(self, is_up: bool) -> None:
        """Green can be reached, or not."""
        self.model.is_linked = is_up
        self.world.run(self.world.link() if is_up else self.world.unlink())

    @rule(last=st.sampled_from([20, 21]))
    def move_egress(self, last: int) -> None:
        """The pods of the egress gateway are at another address."""
        addresses = [EGRESS_IP, f"127.79.0.{last}"][: last - 19]
        self.model.egress = ",".join(addresses)
        self.world.run(self.world.red.move_egress(*addresses))

    @precondition(lambda self: self.model.is_running)
    @rule()
    def stop(self) -> None:
        """The control plane ends; what happens now it finds when it is back."""
        self.model.is_running = False
        self.world.run(self.world.stop())

    @precondition(lambda self: not self.model.is_running)
    @rule()
    def start(self) -> None:
        """The control plane is back."""
        self.world.run(self.world.start())
        self.model.start()

    @precondition(lambda self: self.model.is_running)
    @rule()
    def restart(self) -> None:
        """The control plane ends and is back at once."""
        self.stop()
        self.start()

    @invariant()
    def the_world_is_as_the_model_says(self) -> None:
        """All that can be seen comes to it in time, and gateway ports stay while their imports do."""
        self.model.settle()
        if not self.model.is_running:
            return
        expected, is_served = self.model.expected(), self.model.is_served
        seen = self.world.run(self.world.comes_to(expected, is_served=is_served, within_s=PATIENCE_S))
        assert seen == expected
        held = self.world.run(self.world.gateway_ports())
        assert len(set(held.values())) == len(held)
        assert {key: held[key] for key in self.ports.keys() & held.keys()} == {
            key: port for key, port in self.ports.items() if key in held
        }
        self.ports = held


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * STORIES)
def test_the_whole_plan_is_what_a_model_says() -> None:
    """Stories of creates, changes, deletes, restarts and disconnections, in any order."""
    world = World()
    try:
        told = type("Told", (WholePlan,), {"world": world})
        run_state_machine_as_test(
            told,
            settings=settings(
                max_examples=STORIES,
                stateful_step_count=STEPS,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate,),
                database=None,
            ),
        )
    finally:
        world.close()
