"""A plan as a person reads it, like a diff: ``+`` is made, ``~`` changed, ``-`` taken away, ``=`` stays. Pure."""

from isthmus.doctor.linking.plan import Plan, Step, Verb
from isthmus.doctor.linking.state import MeshState


def plan_text(plan: Plan) -> str:
    """All steps, mesh by mesh."""
    return "\n".join(line for mesh in plan.meshes for line in _mesh_lines(mesh, plan))


def _mesh_lines(mesh: MeshState, plan: Plan) -> list[str]:
    steps = [step for step in plan.steps if step.mesh == mesh.name]
    head = f"{mesh.name} (context {mesh.context}, namespace {mesh.namespace})"
    return [head, *(line for step in steps for line in _step_lines(step))]


def _step_lines(step: Step) -> list[str]:
    return [f"  {step.verb} {step.kind} {step.name}", *(f"      {line}" for line in step.details)]


_WORDS = {Verb.CREATE: "to create", Verb.CHANGE: "to change", Verb.DELETE: "to delete", Verb.KEEP: "as is"}


def summary(plan: Plan) -> str:
    """How much of what there is to do, in a line."""
    told = ", ".join(f"{count} {word}" for verb, word in _WORDS.items() if (count := plan.count(verb)))
    if plan.is_done:
        return f"Nothing to do: {told}" if told else "Nothing to do"
    return told
