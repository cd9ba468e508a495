"""Connections between graphs, whose fields of the same name belong together."""

from collections.abc import Sequence

from niworkflows.engine.workflows import LiterateWorkflow


def connect_shared(
    workflow: LiterateWorkflow, giver: LiterateWorkflow, taker: LiterateWorkflow
) -> None:
    """Connect all fields that one gives and the other takes."""
    taken = taker.get_node("inputnode").inputs.copyable_trait_names()
    given = giver.get_node("outputnode").inputs.copyable_trait_names()
    connect(workflow, giver, taker, sorted(set(taken) & set(given)))


def connect(
    workflow: LiterateWorkflow,
    giver: LiterateWorkflow,
    taker: LiterateWorkflow,
    fields: Sequence[str],
    *,
    prefix: str = "",
) -> None:
    """Connect fields of the same name, but for a prefix on the taker's side."""
    links = [(f"outputnode.{field}", f"inputnode.{prefix}{field}") for field in fields]
    workflow.connect([(giver, taker, links)])
