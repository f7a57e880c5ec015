"""Scoring through a flow: the columns that the served model was trained with, made of the same features.

Which version serves is only known from its answer. So the flow of the version that answered last is applied; when the
answer is another version's, that one's flow is applied to the same features and the model is asked again. A desk
without flows pays one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services import flow_inputs
from services.endpoint import DEPENDENCY, EndpointScores
from services.errors import InvalidData, Unavailable
from services.features import Plan, Reason, reasons
from services.flow_inputs import places
from services.flow_trace import EXPRESSION, HOT, PART, SAME, TARGET, Origin

if TYPE_CHECKING:  # DuckDB is loaded by the first model that was trained with a flow
    from services.flow_engine import FittedFlow

_ATTEMPTS = 4
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Scores(Protocol):
    def score(self, rows: Any, explain: bool | float = False) -> EndpointScores: ...


class FlowSource(Protocol):
    def of_model(self, model_version: str) -> FittedFlow | None:
        """The fitted flow a model version was trained with; None where it takes the plan's features."""
        ...

    def recent_versions(self) -> Sequence[str]:
        """Versions that were deployed or are being deployed, newest first."""
        ...


class Told(NamedTuple):
    """What a row's reasons are told of: its features, its document, its money; the strongest `limit`."""

    plan: Plan
    vector: Sequence[float]
    transaction: Mapping[str, Any]
    limit: int
    currency: str
    exponent: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` is what the model was asked about, through `fitted` (None: the vectors themselves)."""

    scores: EndpointScores
    fitted: FittedFlow | None
    rows: Any

    def reasons(self, row: int, terms: Sequence[float], told: Told) -> tuple[Reason, ...]:
        """Reasons of a row from its contributions, in the words of what came in."""
        if self.fitted is not None:
            return flow_reasons(self.fitted, self.rows[row], terms, told)
        return reasons(
            told.vector, terms, plan=told.plan, limit=told.limit, currency=told.currency, exponent=told.exponent
        )


class FlowScores:
    def __init__(self, scores: Scores, flows: FlowSource | None, plan: Plan) -> None:
        self._scores, self._flows = scores, flows
        self._features = places(plan.names)
        self._fitted: FittedFlow | None = None
        self._known = False

    def score(
        self, vectors: Sequence[Sequence[float]], transactions: Sequence[Mapping[str, Any]], *, explain: bool | float
    ) -> Answer:
        """Ask about feature vectors [n, f]; `transactions` are their documents, for flows that read more than features.

        Raises as `Endpoint.score`, and Unavailable when the endpoint keeps changing its model.
        """
        if self._flows is None:
            return Answer(self._scores.score(vectors, explain=explain), None, vectors)
        if not self._known:
            self._fitted = next((self._flows.of_model(version) for version in self._flows.recent_versions()[:1]), None)
            self._known = True
        fitted = self._fitted
        refused: list[FittedFlow | None] = []  # an annotation: the class itself is not loaded on a desk without flows
        for _ in range(_ATTEMPTS):
            rows = self.rows(fitted, vectors, transactions)
            try:
                answer = self._scores.score(rows, explain=explain)
            except InvalidData:
                # Either the rows are at fault, or a version that wants other columns serves already.
                refused.append(fitted)
                fitted = self._another(refused)
                continue
            wanted = self._flows.of_model(answer.model_version)
            if wanted is fitted:
                self._fitted = fitted
                return Answer(answer, fitted, rows)
            fitted = wanted
        raise Unavailable("The endpoint changed its model again and again; nothing was decided.", dependency=DEPENDENCY)

    def _another(self, refused: Sequence[FittedFlow | None]) -> FittedFlow | None:
        """The flow of another version that may serve; the refusal is raised again when there is none."""
        assert self._flows is not None
        for version in self._flows.recent_versions():
            fitted = self._flows.of_model(version)
            if not any(fitted is other for other in refused):
                return fitted
        raise

    def rows(
        self,
        fitted: FittedFlow | None,
        vectors: Sequence[Sequence[float]],
        transactions: Sequence[Mapping[str, Any]],
    ) -> Any:
        """The vectors themselves, or the flow's columns [n, outputs] of them."""
        if fitted is None:
            return vectors
        return transformed(fitted, self._features, vectors, transactions)


def transformed(
    fitted: FittedFlow,
    features: Mapping[str, int],
    vectors: Sequence[Sequence[float]],
    transactions: Sequence[Mapping[str, Any]],
) -> NDArray[np.float32]:
    """What a model with this flow is given for feature vectors [n, f] of these documents [n]."""
    raw = [name for name in fitted.flow.columns if name not in features]
    if raw and len(transactions) != len(vectors):
        raise InvalidData(f"The served model needs {raw[0]} of each transaction, which was not given.")
    held = flow_inputs.from_documents(transactions, raw)
    return fitted.matrix(flow_inputs.table(fitted.flow.columns, features, np.asarray(vectors), held))


def flow_reasons(fitted: FittedFlow, row: Sequence[float], terms: Sequence[float], told: Told) -> tuple[Reason, ...]:
    """Reasons in the words of what came in: contributions of columns made of one feature count as that feature's.

    Log-odds add up, so the sum over a feature's columns is what the feature contributed. A one-hot says which category
    the transaction has; columns made by an expression are called by their name. Order and `limit` as
    `services.features.reasons`.
    """
    plan, limit = told.plan, told.limit
    features = places(plan.names)
    of_feature = [0.0] * len(plan.names)
    made: dict[str, tuple[Origin, float, float]] = {}
    for column, value, term in zip(fitted.outputs, row, terms, strict=True):
        origin = fitted.origins[column]
        if origin.source in features and origin.how == SAME:
            of_feature[features[origin.source]] += term
            continue
        key = origin.source if origin.how in (HOT, TARGET) else column
        before = made[key][2] if key in made else 0.0
        made[key] = (origin, float(value), before + term)
    found = list(
        reasons(
            told.vector, of_feature, plan=plan, limit=len(of_feature), currency=told.currency, exponent=told.exponent
        )
    )
    for key, (origin, value, term) in made.items():
        if term:
            known = None if np.isnan(value) else value
            found.append(Reason(key, _words(key, origin, value, told.transaction), known, None, term))
    found.sort(key=lambda reason: (reason.contribution < 0, -abs(reason.contribution)))
    return tuple(found[:limit])


def _words(column: str, origin: Origin, value: float, transaction: Mapping[str, Any]) -> str:
    title = origin.source.removeprefix(flow_inputs.ATTRIBUTES).replace("_", " ").capitalize()
    if origin.how in (HOT, TARGET) and flow_inputs.is_raw(origin.source):
        held = flow_inputs.from_documents([transaction], [origin.source])[origin.source][0].as_py()
        return f"{title} is not known" if held is None else f"{title} is {str(held).replace('_', ' ')}"
    if np.isnan(value):
        return f"{title}: not known"
    if origin.how == PART:
        said = {"weekday": _WEEKDAYS[int(value - 1) % 7], "hour": f"{value:.0f} o'clock UTC"}.get(origin.detail)
        if origin.detail == "weekend":
            return "At the weekend (UTC)" if value else "Not at the weekend (UTC)"
        return f"{title}: {said or f'{origin.detail} {value:.0f}'}"
    name = column.replace("_", " ") if origin.how == EXPRESSION else title
    return f"{name[:1].upper()}{name[1:]} is {value:,.4g}"
