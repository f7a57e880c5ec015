"""The flow a person is working on, with undo and redo. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.flow_steps import Flow, Step
from services.flows import FlowVersion

UNDO_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Draft:
    """`flow` as it is now; `past` and `future` are what undo and redo bring back, nearest last.

    `base` is the saved version it began from, None for a new flow.
    """

    flow: Flow
    base: FlowVersion | None = None
    past: tuple[Flow, ...] = ()
    future: tuple[Flow, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return self.base is None or self.base.flow != self.flow

    def to(self, flow: Flow) -> Draft:
        """A change that can be undone; the same flow is no change."""
        if flow == self.flow:
            return self
        return replace(self, flow=flow, past=(*self.past, self.flow)[-UNDO_LIMIT:], future=())

    def undo(self) -> Draft:
        if not self.past:
            return self
        return replace(self, flow=self.past[-1], past=self.past[:-1], future=(*self.future, self.flow))

    def redo(self) -> Draft:
        if not self.future:
            return self
        return replace(self, flow=self.future[-1], future=self.future[:-1], past=(*self.past, self.flow))

    def add(self, step: Step) -> Draft:
        return self.to(replace(self.flow, steps=(*self.flow.steps, step)))

    def remove(self, place: int) -> Draft:
        steps = self.flow.steps
        return self.to(replace(self.flow, steps=(*steps[:place], *steps[place + 1 :])))

    def move(self, place: int, by: int) -> Draft:
        """One step earlier (-1) or later (1); at the ends nothing happens."""
        steps, other = list(self.flow.steps), place + by
        if not 0 <= other < len(steps):
            return self
        steps[place], steps[other] = steps[other], steps[place]
        return self.to(replace(self.flow, steps=tuple(steps)))

    def columns(self, columns: tuple[str, ...]) -> Draft:
        return self.to(replace(self.flow, columns=columns))
