"""Experiments over a set of prompts, hiding sinks and evicting keys and values: their controls, submitting one by hand,
following it, and showing its results with their settings.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.bundled.prompts import prompts
from analysis.engine import JobRecord
from analysis.evaluation import ablation_effects
from analysis.evaluation.eviction_effects import TESTED
from analysis.exhibits import ablation, eviction
from analysis.findings import finding_of, findings_of
from analysis.findings.ablations import PER_UNIT
from analysis.models.registry import BUNDLED_PAIR
from analysis.sinks.definitions import criterion
from analysis.specs import (
    INTERVENTIONS,
    POLICIES,
    TARGETS,
    AblateSetSpec,
    EvictSpec,
    JobSpec,
    SinkParams,
    Spec,
    controls_drawn,
    keepings,
)
from analysis.specs import sentence as problem_sentence
from analysis.specs.base import short_label
from analysis.words import counted, listed, percent
from cache.keys import content_key
from pages.parts import asking, controls
from pages.parts.asking import acting_button
from pages.parts.causes.results import CHANGED, NEXT, Figures, answer_first, draw_figures, draw_shifts, with_example
from pages.parts.charts import PER_CENT_CELLS, exhibit_text, export_later, table
from pages.parts.controls import draw_several, keyed_columns, keys_of
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import recording_box, sink_controls
from pages.parts.recordings.measures import seconds_of
from pages.parts.recordings.recording import Recording, finished_recordings
from pages.parts.session import engine, not_in_address

Summary = Mapping[str, Any]
"""Of a job, or of a part of it."""
ABLATION_ASKED = "ablation_job"  # in the address: the id of a finished ablation, which is shown as it was asked


def latest(kind: str, source: str) -> JobRecord | None:
    """Return the newest finished job of a kind with this model whose result is there."""
    jobs = (job for job in engine().jobs(kind) if job.spec["model"]["source"] == source)
    return next((job for job in jobs if job.state == "done" and engine().has_result(job)), None)


def latest_asked(kind: str, source: str) -> JobRecord | None:
    """Return the newest job of a kind with this model that is under way, else the newest finished one."""
    jobs = (job for job in engine().jobs(kind) if job.spec["model"]["source"] == source)
    return next((job for job in jobs if not job.ended), None) or latest(kind, source)


def choose(
    kind: str, source: str, spec: type[Spec], field: str, offered: Collection[Any], **options: Any
) -> tuple[Any, ...]:
    """Draw the choice of several values, which begins as in the run under way or the latest, so that what is shown and
    what is set agree; else as preset. options: of `draw_several`.
    """
    job = latest_asked(kind, source)
    chosen = [] if job is None else [choice for choice in job.spec[field] if choice in offered]
    default = chosen or list(spec.model_fields[field].default)
    return draw_several(spec, field, f"{kind}_{field}", offered, default=default, **options)


BUNDLED_PROMPTS = 50


def prompt_box(recording: Recording, kind: str) -> tuple[str, ...]:
    """Draw the box and return its prompts, each once. kind: of the jobs that use them."""
    text = st.text_area(
        "Prompts, one per line",
        value=_first_prompts(recording, kind),
        key=f"{kind}_prompts",
        persist_state="session",
        height=120,
        help="Intervals cover the choice of prompts: few prompts give wide ones.",
    )
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def _first_prompts(recording: Recording, kind: str) -> str:
    """Return the first text of the box, a line each: the prompts of the model's run under way or its latest, so that
    results and settings agree; else the bundled prompts for the bundled pair, or those recorded of the model.
    """
    source = recording.model.source
    job = latest_asked(kind, source)
    if job is not None and all(isinstance(prompt, str) and "\n" not in prompt for prompt in job.spec["prompts"]):
        return "\n".join(job.spec["prompts"])
    if source in BUNDLED_PAIR:
        return "\n".join(prompts(BUNDLED_PROMPTS))
    texts = [job.spec["prompt"] for job in finished_recordings() if job.spec["model"]["source"] == source]
    return "\n".join(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))


SINK = "Sink: a token whose attention, averaged over layers and heads, is above {} of its step."
"""The definition of a sink, of a criterion."""
_PER_UNIT = (
    "Per unit of attention: the change by the control is scaled up to the attention that the sinks draw, as if it grew "
    "linearly. That extrapolates."
)
_LIKE = "Model, sampler and seed as in"
_IN_NUMBERS = "answer in numbers"  # a row of `FINDINGS`
_TESTS = ("tests of effects", "tests of policies")  # further ones
_CALLED = {"sampling": "sampler", "sinks": "sink definition", "prompts": "prompts", "keys": "prompt groups"}
"""Settings by their names in sentences."""


@dataclass(frozen=True)
class OverPrompts:
    """One experiment. kind: of its jobs. name: as after "an". button: what its button says, of {prompts}. address:
    the key of a finished job in the page's address. what: what a run does, before "over N prompts". about: what it
    does with {prompts}, as a sentence. spec: its question. controls: draws the controls of the question and returns
    their fields. cost: what a run takes. outcome, means, single: figures by name and tables of a summary.
    more: further figures, in a fold that is drawn only where the first of them exists; shifts: how far predictions
    shift by half of the steps, drawn there. caveats: what the answer leaves open, in sentences. columns: of the
    tables. note: under which conditions the numbers hold. next_step: draws the ways on. others: draws what is known of
    other models, given this one. before: draws what is known before the first run with a model. example: returns what
    draws one text of a job, if there is one. floor: what doing nothing changes, of the question, as a sentence.
    """

    kind: str
    name: str
    button: str
    address: str
    what: str
    about: str
    spec: type[Any]
    controls: Callable[[Recording], dict[str, Any]]
    cost: Callable[[Any, Recording], str]
    outcome: Callable[[Summary], Figures]
    means: Callable[[Sequence[Summary]], pd.DataFrame]
    single: Callable[[Sequence[Summary], Sequence[str]], pd.DataFrame]
    columns: Mapping[str, Any]
    more: Callable[[Summary], Figures] = lambda summary: {}
    shifts: Callable[[Summary], Sequence[tuple[str, ...]]] = lambda summary: ()
    caveats: Callable[[Summary], str] = lambda summary: ""
    note: Callable[[Summary], str] = lambda summary: ""
    next_step: Callable[[], None] = lambda: None
    others: Callable[[str], None] = lambda source: None
    before: Callable[[str], None] = lambda source: None
    example: Callable[[JobRecord], Callable[[], None] | None] = lambda job: None
    floor: Callable[[Any], str] = lambda spec: ""

    def view(self, recording: Recording) -> JobRecord | None:
        """Draw the view. Model, sampler and seed are those of the recording shown. Return the job whose results are
        drawn.
        """
        if measures.says_no_model(recording):
            recording_box(recording.job, _LIKE)
            return None
        asked, answer = f"{self.kind}_asked", st.container()
        answer_first(self.kind, {f"{self.kind}_asking": (2, 5, 5)}, f"buttons_{NEXT}")
        aside, settings, place = keyed_columns([5, 3, 4], f"{self.kind}_asking", vertical_alignment="center")
        with settings.popover("Settings", icon=":material/tune:", width="stretch"):
            recording_box(recording.job, _LIKE)
            given = self.controls(recording)
            params = sink_controls(stacked=True)
        run = latest_asked(self.kind, recording.model.source)
        if run is not None and tuple(run.spec["prompts"]) == given["prompts"]:
            given["keys"] = tuple(run.spec["keys"])  # which of them are alike
        spec = self._asked(recording, params, given)
        if spec is None:
            return None
        question = content_key(spec=spec.model_dump(mode="json"))[:12]
        if acting_button(
            self.button.format(prompts=counted(len(spec.prompts), "prompt")),
            f"run_{self.kind}",
            place,
            icon=":material/science:",
            type="primary",
            width="stretch",
        ):
            st.session_state[asked] = question
        by_hand = st.session_state.get(asked) == question
        if not by_hand and not asking.at_hand(self.kind, spec):
            return self._earlier(recording, spec, answer, aside)
        what = f"{self.what} over {len(spec.prompts)} prompts"
        job = asking.ask(self.kind, spec, what, by_hand=by_hand, meanwhile=self._so_far)
        if job is not None:
            self._finished(job, spec, answer, aside)
        return job

    def _asked(self, recording: Recording, params: SinkParams, given: Mapping[str, Any]) -> Any:
        """Return the question as the controls have it; None after saying what is wrong with it."""
        try:
            return self.spec(
                model=recording.model,
                chat_template="on" if recording.info.chat_template else "off",
                sampling=recording.request().sampling,
                sinks=params,
                seed=recording.info.seed,
                **given,
            )
        except ValidationError as error:
            st.info(plain(problem_sentence(error)))
            return None

    def _earlier(
        self, recording: Recording, asked: Any, answer: DeltaGenerator, aside: DeltaGenerator
    ) -> JobRecord | None:
        """Draw the newest finished run with this model, where there is one, its answer in `answer`, and say `aside` in
        what it differs from `asked` and what that takes.
        """
        job, cost = latest(self.kind, recording.model.source), self.cost(asked, recording)
        if job is None:
            aside.caption(plain(cost))
            st.caption(self.about.format(prompts="the prompts"))
            button = self.button.format(prompts=counted(len(asked.prompts), "prompt"))
            st.info(f"Press **{button}**: results show as prompts finish.")
            self.before(recording.model.source)
            return None
        shown = job.parameters(self.spec)
        differing = _differing(shown, asked)
        self._finished(job, shown, answer, aside, earlier=True)
        if differing:
            aside.caption(plain(f"{differing} {cost}"))
        return job

    def stated(self) -> JobRecord | None:
        """Return the finished job that the address names; None where there is none, after saying so where it is not in
        the store.
        """
        named = st.query_params.get(self.address)
        if not named:
            return None
        job = engine().job(named)
        if job is None or job.kind != self.kind or not engine().has_result(job):
            not_in_address(f"an {self.name} that is not in the store.")
            return None
        return job

    def shown(self, job: JobRecord) -> None:
        """Draw a finished job with what it was asked with, and the way to asking another."""
        st.subheader(f"{self.name.capitalize()} over prompts", anchor=False)
        answer = st.container()
        self._finished(job, job.parameters(self.spec), answer, answer, earlier=True)
        st.page_link("pages/causes.py", label=f"**Run another {self.name}**", icon=":material/science:")

    def settings(self, job: JobRecord) -> dict[str, Any]:
        """Return what a job was asked with, for an exported page."""
        spec: JobSpec = job.parameters(self.spec)
        return spec.model_dump(mode="json")

    def _finished(
        self, job: JobRecord, spec: Any, place: DeltaGenerator, aside: DeltaGenerator, earlier: bool = False
    ) -> None:
        """Draw what a job found, the answer in `place` and what a sink is `aside`. earlier: it is not the one that the
        controls ask for.
        """
        done, planned = job.summary["prompts"], job.summary["planned"]
        found = findings_of(self.kind, job.summary) if done == planned else {}
        tested = chain(*(found.pop(name, ()) for name in _TESTS))
        in_numbers = found.pop(_IN_NUMBERS, ())
        answer, *others = [*found.values()] or [[]]
        if done < planned:
            st.warning(f"Stopped after {done:d} of {planned:d} prompts. Intervals are interim, and nothing is tested.")
            if not earlier:
                asking.go_on(self.kind, spec, "Continue")
        if answer:
            told = " ".join(filter(None, (*answer[1:], self.caveats(job.summary))))
            exhibit_text(f"{self.name.capitalize()} over prompts", answer[0], told, f"{self.kind}_answer")
            place.markdown(f"##### {plain(answer[0])}")
            if told:
                place.markdown(plain(told))
        of = f" This is your run of {datetime.fromtimestamp(job.created):%d %b %H:%M}." if earlier else ""
        aside.caption(plain(f"{SINK.format(criterion(spec.sinks))}{of}"))
        with_example(self.outcome(job.summary), self.example(job), self.kind)
        self.next_step()
        more = _more(self.kind, job.key or job.id, job.summary)
        if next(iter(more.values()), None) is not None:
            fold = st.expander(CHANGED, icon=":material/query_stats:", key=f"{self.kind}_more", on_change="rerun")
            if fold.open:
                with fold:
                    for sentence in in_numbers:
                        st.markdown(plain(sentence), help=_PER_UNIT if PER_UNIT in sentence else None)
                    draw_shifts(self.shifts(job.summary) if done == planned else ())
                    draw_figures(more, self.kind)
            else:
                export_later(lambda: [figure for figure in more.values() if figure is not None], f"{self.kind}_more")
        self.others(spec.model.source)
        if others:
            with st.expander("All findings", icon=":material/notes:", key=f"{self.kind}_findings"):
                for said in chain(*others):
                    st.markdown(plain(said))
        with st.expander("Method, every number and settings", icon=":material/list:", key=f"{self.kind}_numbers"):
            st.markdown(
                f"{plain(self.about.format(prompts=counted(done, 'prompt')))} {spec.sampling.gen_length:d} new tokens, "
                f"seed {spec.seed:d}. {plain(' '.join((self.floor(spec), *tested)))}".strip()
            )
            self._numbers(spec, job.summary)
            st.json(self.settings(job), expanded=False)

    def _so_far(self, partial: Summary) -> None:
        """Draw what the prompts that are done show, while the others run."""
        if partial.get("prompts", 0) > 1:
            st.caption(f"Interim, of {partial['prompts']:d} prompts: nothing is tested before all are done.")
            draw_figures(self.outcome(partial), self.kind)

    def _numbers(self, spec: Any, summary: Summary) -> None:
        table(
            "Means over the prompts",
            self.note(summary),
            _telling(self.means(summary["rows"])),
            f"{self.kind}_means",
            column_config=dict(self.columns),
        )
        texts = [prompt if isinstance(prompt, str) else "token ids" for prompt in spec.prompts]
        table(
            "Every prompt by itself",
            "The numbers that the means and intervals are of.",
            self.single(summary["rows"], texts),
            f"{self.kind}_single",
            export=False,
            column_config=dict(self.columns),
        )


def _differing(shown: Any, asked: Any) -> str:
    """Say in which settings two questions differ."""
    differ = [
        _CALLED.get(name) or short_label(name, field)
        for name, field in type(asked).model_fields.items()
        if getattr(shown, name) != getattr(asked, name)
        and not (name == "chat_template" and "auto" in (shown.chat_template, asked.chat_template))
    ]
    return f"Other {listed(differ)} than set." if differ else ""


def _telling(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the columns of words that are the same in every row."""
    same = [name for name in frame.select_dtypes(exclude="number") if frame[name].nunique() == 1]
    return frame.drop(columns=same)


FIELDS = ("count", "window", "first_layer", "last_layer")  # two per row
_BUDGETS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # offered on the page; the command takes any
_FORWARDS = 3  # of each text: an untouched one, one on the full run's inputs, one for its own text


def _listed(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a choice of rows."""
    told = "\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in rows.values())
    return {"format_func": lambda name: rows[name].title, "help": told}


def _ablation_controls(recording: Recording) -> dict[str, Any]:
    values: dict[str, Any] = {"prompts": prompt_box(recording, "ablate_set")}
    choices: dict[str, Mapping[str, Any]] = {"targets": TARGETS, "interventions": INTERVENTIONS}
    for field, rows in choices.items():
        source = recording.model.source
        values[field] = choose("ablate_set", source, AblateSetSpec, field, rows, **_listed(rows))
    columns = [*keyed_columns(2, "ablate_set"), *keyed_columns(2, "ablate_set_more")]
    return values | controls.draw_each(AblateSetSpec, keys_of("ablate_set", FIELDS), columns)


def _ablation_cost(spec: AblateSetSpec, recording: Recording) -> str:
    conditions = sum(1 + len(controls_drawn(name)) for name in spec.targets)
    written = len(spec.prompts) * (1 + conditions * len(spec.interventions))
    return f"Writes {written:,} texts, in batches. Recording one took {recording.info.seconds:.1f} s."


ABLATION = OverPrompts(
    kind="ablate_set",
    name="ablation",
    button="Hide the sinks in {prompts}",
    address=ABLATION_ASKED,
    what="Ablating",
    about="Each of {prompts} is written again while no token attends to its sinks, then to control tokens.",
    floor=lambda spec: ablation.DETERMINISTIC if spec.sampling.same_alone else ablation.RANDOM,
    spec=AblateSetSpec,
    controls=_ablation_controls,
    cost=_ablation_cost,
    outcome=lambda summary: {"levels_nll": ablation.levels_beside(summary, "nll")},
    more=lambda summary: {
        **{f"levels_{name}": ablation.levels_beside(summary, name) for name in ("aligned", "divergence")},
        "timing": ablation.timing(summary),
        **{f"effects_{name}": ablation.effects_of(summary, name) for name in ablation_effects.TESTED},
    },
    shifts=lambda summary: finding_of("shifts of predictions", summary),
    caveats=lambda summary: finding_of("caveats", summary),
    means=ablation.means,
    single=ablation.single_prompts,
    columns={
        ablation.NUMBERS[name]: st.column_config.NumberColumn(label, format=form)
        for name, label, form in (
            ("share", "attention", PER_CENT_CELLS),
            ("count", "positions", "%.1f"),
            ("undecided", "undecided", "%.1f"),
            ("divergence", "change (nats)", "%.3f"),
            ("aligned", "text kept", PER_CENT_CELLS),
            ("agreement", "in place", PER_CENT_CELLS),
            ("repeated", "repeated", PER_CENT_CELLS),
            ("nll", "nats per token", "%.2f"),
        )
    },
    note=lambda summary: (
        "Attention and positions: the share that untouched forwards paid to the positions hidden, "
        "and how many those were per step. Text kept: tokens in common with the untouched text, aligned; in place: at "
        "their position. Repeated: tokens that equal the one before. Nats per token: of the untouched model."
    ),
)


def _eviction_controls(recording: Recording) -> dict[str, Any]:
    prompts, source = prompt_box(recording, "evict"), recording.model.source
    offered = [name for name, row in POLICIES.items() if row.asked]
    policies = choose("evict", source, EvictSpec, "policies", offered, **_listed(POLICIES))
    budgets = choose("evict", source, EvictSpec, "budgets", _BUDGETS, format_func=lambda share: percent(share, 0))
    return {"prompts": prompts, "policies": policies, "budgets": tuple(sorted(budgets))}


def _eviction_cost(spec: EvictSpec, recording: Recording) -> str:
    written = len(spec.prompts) * len(keepings(spec))
    return f"Writes {written:,} texts: {seconds_of(recording, _FORWARDS * written)} one after another, less in batches."


EVICTION = OverPrompts(
    kind="evict",
    name="eviction",
    button="Run eviction",
    address="eviction_job",
    what="Evicting",
    about="Each of {prompts} is written again with a share of its keys and values kept.",
    spec=EvictSpec,
    controls=_eviction_controls,
    cost=_eviction_cost,
    outcome=lambda summary: {
        f"{kind}_{name}": drawn(summary, name)
        for kind, drawn in (("frontier", eviction.frontier_of), ("effects", eviction.effects_of))
        for name in TESTED
    },
    means=eviction.means,
    single=eviction.single_prompts,
    columns={"budget": st.column_config.NumberColumn(format=PER_CENT_CELLS)},
    note=eviction.conditions,
)


@st.cache_resource(max_entries=8, show_spinner=False)
def _more(kind: str, key: str, _summary: Summary) -> Figures:
    """Return the figures in a fold of a job's results. key: of the job's result."""
    return {each.kind: each for each in (ABLATION, EVICTION)}[kind].more(_summary)
