"""Addresses of removed pages: each redirects to the page and tab that now hold its view.

tests/ui/old_addresses.md lists the views; a test opens every row.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Match, Route
from starlette.types import Scope

from analysis.specs import DiscountParams
from pages.parts.door import base_path

ANY = "*"
"""Wildcard in a row: any value of the parameter."""


class Moved(NamedTuple):
    """One moved view. page: its old page; names: parameter -> value that the old address must have for this row to
    match; the new address leaves them out. to: the new page, '' for the first one; adds: parameters of the new address.
    """

    page: str
    to: str
    names: Mapping[str, str]
    adds: Mapping[str, str]


def _row(text: str) -> Moved:
    """Read a row: an old address, and the new one."""
    (page, _, names), (to, _, adds) = (side.strip().partition("?") for side in text.split("->"))
    return Moved(page, to, dict(parse_qsl(names)), dict(parse_qsl(adds)))


_ROWS = """\
overview ->
study ->
denoise -> explore
sinks?sinks_view=Ablation -> causes?causes_view=One prompt
sinks?sinks_view=Chosen steps -> explore?heads_view=Chosen steps&tab=Heads
sinks?sinks_view=Ranking -> explore?tab=Heads
sinks?full_map=true -> explore?tab=Attention map
sinks?token_lines=true -> explore?tab=Attention map
sinks?metric=* -> explore?tab=Heads
sinks?view=One step -> explore
sinks -> explore?over=all
dynamics?dynamics_view=By layer -> evidence
dynamics?dynamics_view=* -> explore?tab=Dynamics
dynamics?set_metric=* -> evidence?evidence_view=Head by head
dynamics?set_scope=* -> evidence?evidence_view=Over the steps
dynamics?set_split=* -> evidence?evidence_view=Over the steps
dynamics?set=* -> evidence
dynamics?recording=* -> explore?tab=Dynamics
dynamics -> evidence
evidence?evidence_part=What papers claim -> evidence?evidence_view=What papers claim
evidence?evidence_part=Sinks over prompts -> evidence
evidence?evidence_view=By layer -> evidence
evidence?evidence_view=How sinks move -> evidence?evidence_view=Do they move?
experts -> explore?tab=Experts
causes?causes_view=Ablation over prompts -> causes?causes_view=Many prompts
causes?causes_view=Massive activations -> explore?tab=Massive activations
causes?causes_view=Logit lens -> explore?tab=Logit lens
causes?causes_view=Geometry -> explore?tab=Geometry
tuning?tuning_view=Suggest -> prune?prune_view=Suggest settings
tuning?tuning_view=Output error -> prune?prune_view=Discount&discount_view=Output error
tuning?tuning_view=Text -> prune?prune_view=Discount&discount_view=Text
tuning?tuning_view=Scores -> prune?prune_view=Discount&discount_view=Scores
prune?prune_view=Output error -> prune?prune_view=Discount&discount_view=Output error
prune?prune_view=Text -> prune?prune_view=Discount&discount_view=Text
prune?prune_view=Scores -> prune?prune_view=Discount&discount_view=Scores
tuning?tuning_view=Discount -> prune?prune_view=Discount&discount_view=Token weights
prune?prune_view=Suggest -> prune?prune_view=Suggest settings
prune?prune_view=Masks of two -> prune?prune_view=Masks
tuning -> prune
pruning -> prune
accuracy -> runs?runs_view=Accuracy
masks -> runs?runs_view=Masks
"""
MOVED: tuple[Moved, ...] = tuple(map(_row, _ROWS.splitlines()))
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
