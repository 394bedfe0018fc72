"""Addresses of removed pages: each redirects to the page and tab that now hold its view.

tests/ui/old_addresses.md lists the views; a test opens every row.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Match, Route
from starlette.types import Scope

from analysis.specs import DiscountParams
from pages.parts.private_path import base_path

ANY = "*"
"""Wildcard in a row: any value of the parameter."""


@dataclass(frozen=True)
class Moved:
    """One moved view. page: its old page; names: parameter -> value that the old address must have for this row to
    match; the new address leaves them out. to: the new page, '' for the first one; adds: parameters of the new address.
    """

    page: str
    to: str
    names: Mapping[str, str] = field(default_factory=dict)
    adds: Mapping[str, str] = field(default_factory=dict)


def _tab(name: str) -> dict[str, str]:
    return {"tab": name}


_WEIGHTS = {"prune_view": "Discount", "discount_view": "Token weights"}
MOVED: tuple[Moved, ...] = (
    Moved("overview", ""),
    Moved("study", ""),
    Moved("denoise", "explore"),
    Moved("sinks", "causes", {"sinks_view": "Ablation"}, {"causes_view": "One prompt"}),
    Moved("sinks", "explore", {"sinks_view": "Chosen steps"}, {"heads_view": "Chosen steps", **_tab("Heads")}),
    Moved("sinks", "explore", {"sinks_view": "Ranking"}, _tab("Heads")),
    Moved("sinks", "explore", {"full_map": "true"}, _tab("Attention map")),
    Moved("sinks", "explore", {"token_lines": "true"}, _tab("Attention map")),
    Moved("sinks", "explore", {"metric": ANY}, _tab("Heads")),
    Moved("sinks", "explore", {"view": "One step"}),
    Moved("sinks", "explore", {}, {"over": "all"}),
    Moved("dynamics", "evidence", {"dynamics_view": "By layer"}),
    Moved("dynamics", "explore", {"dynamics_view": ANY}, _tab("Dynamics")),
    Moved("dynamics", "evidence", {"set_metric": ANY}, {"evidence_view": "Head by head"}),
    Moved("dynamics", "evidence", {"set_scope": ANY}, {"evidence_view": "Over the steps"}),
    Moved("dynamics", "evidence", {"set_split": ANY}, {"evidence_view": "Over the steps"}),
    Moved("dynamics", "evidence", {"set": ANY}),
    Moved("dynamics", "explore", {"recording": ANY}, _tab("Dynamics")),
    Moved("dynamics", "evidence"),
    Moved("evidence", "evidence", {"evidence_part": "What papers claim"}, {"evidence_view": "What papers claim"}),
    Moved("evidence", "evidence", {"evidence_part": "Sinks over prompts"}),
    Moved("evidence", "evidence", {"evidence_view": "By layer"}),
    Moved("evidence", "evidence", {"evidence_view": "How sinks move"}, {"evidence_view": "Do they move?"}),
    Moved("experts", "explore", {}, _tab("Experts")),
    Moved("causes", "causes", {"causes_view": "Ablation over prompts"}, {"causes_view": "Many prompts"}),
    *(
        Moved("causes", "explore", {"causes_view": name}, _tab(name))
        for name in ("Massive activations", "Logit lens", "Geometry")
    ),
    Moved("tuning", "prune", {"tuning_view": "Suggest"}, {"prune_view": "Suggest settings"}),
    *(
        Moved(page, "prune", {old: name}, {"prune_view": "Discount", "discount_view": name})
        for page, old in (("tuning", "tuning_view"), ("prune", "prune_view"))
        for name in ("Output error", "Text", "Scores")
    ),
    Moved("tuning", "prune", {"tuning_view": "Discount"}, _WEIGHTS),
    Moved("prune", "prune", {"prune_view": "Suggest"}, {"prune_view": "Suggest settings"}),
    Moved("prune", "prune", {"prune_view": "Masks of two"}, {"prune_view": "Masks"}),
    Moved("tuning", "prune"),
    Moved("pruning", "prune"),
    Moved("accuracy", "runs", {}, {"runs_view": "Accuracy"}),
    Moved("masks", "runs", {}, {"runs_view": "Masks"}),
)
"""Old views and their new places. The first row that matches counts; a page without a match stays as it was."""

_CALIBRATED = ("data", "samples", "seq_len", "seed", "diffusion_steps", "step_interval", "noise", "noise_eps")
_TUNED = (*DiscountParams.model_fields, "sparsity", "step_weighting")
RENAMED: Mapping[str, Mapping[str, str]] = {
    "accuracy": {"with": "run"},
    "tuning": {f"calibrate_{name}": f"prune_{name}" for name in _CALIBRATED}
    | {f"tune_{name}": f"prune_{name}" for name in _TUNED},
}
"""New names of the parameters of an old page."""


def new_address(page: str, query: str) -> str | None:
    """Return the address, as `page?query`, that replaces an old one; None if the old one is still in use."""
    named = parse_qsl(query, keep_blank_values=True)
    for row in MOVED:
        if row.page == page and all(_names(named, name, value) for name, value in row.names.items()):
            called = RENAMED.get(page, {})
            gone = {*row.adds, *(name for name, value in row.names.items() if value != ANY)}
            kept = [(called.get(name, name), value) for name, value in named if name not in gone]
            there = urlencode([*kept, *row.adds.items()])
            return f"{row.to}?{there}" if there else row.to
    return None


def _names(named: list[tuple[str, str]], name: str, value: str) -> bool:
    return any(each == name and value in (ANY, said) for each, said in named)


class _OldAddress(Route):
    """A route that answers where one of its rows matches, and leaves other addresses to the page of that name."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how the request matches, as Starlette expects."""
        match, child = super().matches(scope)
        if match == Match.FULL:
            page, query = self.path.rpartition("/")[2], scope.get("query_string", b"").decode("latin-1")
            if new_address(page, query) is None:
                return Match.NONE, {}
        return match, child


def routes() -> list[Route]:
    """Return the routes for the old addresses. They pass all other parameters on."""
    pages = dict.fromkeys(row.page for row in MOVED)
    return [_OldAddress(f"{base_path()}/{page}", _leading_on(page)) for page in pages]


def _leading_on(page: str) -> Callable[[Request], Awaitable[RedirectResponse]]:
    async def lead(request: Request) -> RedirectResponse:
        # Relative, so that the private part of the address stays. Not a permanent one: browsers would keep it for
        # whatever else is served at this port later.
        return RedirectResponse(f"./{new_address(page, request.url.query)}", 307)

    return lead
