"""Many prompts: which tokens are the sinks of each layer, and how sinks move, beside their nulls."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits import recording_sets
from analysis.exhibits.inside_sets import queries_apart
from analysis.exhibits.recording_sets import CENTROID_CAVEAT
from analysis.figures.export import Exhibit
from analysis.findings import finding_of, layers, set_contrast
from analysis.findings.layers import (
    ABOVE,
    BELOW,
    OPEN,
    PLACES,
    SHARP,
    SIGNIFICANTLY,
    SINK,
    SetAnswer,
    layer_table,
    legend,
    movement_nulls,
    movement_table,
    terms_told,
)
from analysis.findings.sets import NOISE
from analysis.recording import set_measures, set_tables
from analysis.sinks.definitions import criterion
from analysis.sinks.metrics import CURVES, HEAD_METRICS, of_mass
from analysis.sinks.movement import MOVEMENT_NULLS, MovementNull
from analysis.sinks.step_inputs import ALL, SPLITS, undecided_named
from analysis.specs import ModelSpec, RecordSpec
from analysis.words import counted, in_sentence, listed
from pages.parts import asking
from pages.parts.address import link_buttons
from pages.parts.asking import begin, starting_button
from pages.parts.charts import as_read, chart, exhibit_table, exhibit_text, heading
from pages.parts.controls import figures_beside, figures_row, keyed_columns, on_one_level, order_on_a_phone, pick
from pages.parts.plain import plain
from pages.parts.recordings.choice import read_split, why_apart, within
from pages.parts.recordings.recording import cached
from pages.parts.recordings.sets import BY_SET, OpenSet, sets_to_look_at
from pages.parts.session import engine

_RECORDED = "recorded_prompt_of_set"
_MOST_ROWS, _TALL = 16, 560  # layers up to which a table has its whole height, and pixels of a longer one
_ICONS = {
    ABOVE: ":primary[:material/arrow_upward:]",
    BELOW: ":material/arrow_downward:",
    OPEN: ":gray[:material/remove:]",
}
# What is drawn of figures beside each other stands in common rows, as their findings differ in length.
CAUSAL = "Even split: over each token and earlier ones."
"""What the panel of a left-to-right model says of it."""
_MOST = " (the most that sinks could move, which none is to exceed)"
_NEXT = "evidence_next"  # key of the container with the ways on
_MOVEMENT = "how sinks move"  # the row of `FINDINGS`
WHERE, MOVING = "Where sinks are", "Do they move?"
"""Views of which a study tells, too."""
Answers = dict[str, SetAnswer]
"""The answer of each set, by its name."""
_RECORD_ICON = ":material/fiber_manual_record:"
_WHOLE = 10  # prompts up to which a table of them is as high as it is long


def by_layer(view: str, without: Callable[[str, DeltaGenerator], bool]) -> dict[str, Any] | None:
    """Draw the answer over the chosen sets, their choice, and a view of `VIEWS`. What an exported page says of it; None
    where there is nothing to look at. without: draws what there is of the view without a set, its answer in the place;
    returns whether there is anything.
    """
    order_on_a_phone({figures_row("evidence_answer"): (0, 1)}, {}, f"buttons_{_NEXT}")
    left, choice = figures_beside([5, 2], "evidence_answer")
    first_line = left.container(gap="small")
    opened = sets_to_look_at(choice, lambda: without(view, first_line))
    if not opened:
        return None
    sets = _named(opened)
    told = _answers(sets)
    VIEWS[view](sets, told, first_line)
    return {
        set_.name: {
            "model": set_.recordings.info.model.model_dump(),
            "prompts": len(set_.recordings.info.prompts),
            "sampling": set_.recordings.info.sampling.model_dump(),
            "sinks": set_.recordings.info.sinks.model_dump(),
            "seed": set_.recordings.info.seed,
            "random_seeds": set_.recordings.info.random_seeds,
            "weight_seeds": dict(set_.recordings.info.weight_seeds),
        }
        for set_ in sets
    }


def _named(opened: list[OpenSet]) -> list[OpenSet]:
    """Sort sets, diffusion models first, and give each a unique name."""
    opened = sorted(opened, key=_causal)
    names: list[str] = []
    for one_set in opened:
        same = sum(name.split(" (")[0] == one_set.name for name in names)
        names.append(f"{one_set.name} ({same + 1})" if same else one_set.name)
    return [replace(one_set, name=name) for one_set, name in zip(opened, names, strict=True)]


def _answer(place: DeltaGenerator, title: str, sentences: Sequence[str]) -> None:
    """Draw the answer of a view. title: of it, in exported pages."""
    if sentences:
        for paragraph in filter(None, headline(place, title, sentences)):
            place.markdown(plain(paragraph))


def headline(place: DeltaGenerator, title: str, sentences: Sequence[str]) -> list[str]:
    """Draw the first sentence of an answer, large; beneath it the others, if it is all there is to say of its model.
    Return what is left to say of each model. title: as in `_answer`.
    """
    first, *others = sentences
    large, rest = _first(first)
    place.markdown(f"##### {plain(large)}")
    exhibit_text(title, first, " ".join(others), "answer")
    if rest:
        return [rest, *others]
    if others:
        place.markdown(plain(" ".join(others)))
    return [""] * len(sentences)


def _first(told: str) -> tuple[str, str]:
    """Return the first sentence, and the others."""
    first, end, rest = told.partition(". ")
    return first + end.strip(), rest


def _counting(sets: list[OpenSet], told: Answers, view: str = "") -> None:
    """Draw what the answer of a view counts."""
    if view == MOVING:
        nulls = [MOVEMENT_NULLS[null].called for null in movement_nulls(next(iter(told.values())).layers)]
        against = f" Nulls: {listed(nulls)}." if nulls else ""
        st.caption(plain(f"New sink: a token that was no sink one step before.{against}"), help=plain(NOISE))
    else:
        rules = _alike({one_set.name: criterion(one_set.recordings.info.sinks) for one_set in sets})
        prompts = _alike({one_set.name: f"{one_set.recordings.prompts} prompts" for one_set in sets})
        terms, more = f"{SINK.format(rules)} Means over {prompts}.", NOISE
        if view == WHERE:
            rarer = finding_of("rarer untrained", next(iter(told.values())).leads)
            untrained = _alike({one_set.name: _untrained(one_set) for one_set in sets})
            terms, more = terms_told(rules, prompts, untrained), f"{SIGNIFICANTLY} {NOISE} {rarer}".strip()
        st.caption(plain(terms), help=plain(more))
    for note in {note: None for answered in told.values() for note in answered.said.get("missing claims", ())}:
        st.caption(plain(note))


def _untrained(one_set: OpenSet) -> str:
    """Return how many untrained models a set has; "" for none."""
    models = len(one_set.recordings.info.seeds_of(SHARP))
    return counted(models, "model") if models else ""


def _of_layers(sets: list[OpenSet], told: Answers, place: DeltaGenerator) -> None:
    """Draw the figure of every model, and the ways to go on; all else is folded. place: where the answer goes."""
    rest = headline(place, WHERE, finding_of("kinds of sets", _by_name(sets), told))
    shown = [
        replace(figure, sentence=f"{figure.sentence} {CAUSAL}" if _causal(one_set) else figure.sentence)
        for one_set, figure in zip(sets, _layers(sets), strict=True)
    ]
    beside_each_other([one_set.key for one_set in sets], shown, "layers", rest)
    _counting(sets, told, WHERE)
    next_steps()
    for one_set in sets:
        answer = told[one_set.name]
        _fold(one_set, "every layer and finding", layer_table(answer), [answer.kinds, *answer.sentences])
    with st.expander("How strong the sinks are, and counted in other ways", icon=":material/tag:", key="sets_counts"):
        _chart(replace(_strengths(sets), finding=finding_of("strengths of sets", _by_name(sets), told)))
        _chart(_counts(sets))


def _causal(one_set: OpenSet) -> bool:
    return one_set.recordings.info.model.attention == "causal"


def beside_each_other(keys: Sequence[str], shown: list[Exhibit], name: str, told: Sequence[str]) -> None:
    """Draw a figure per model, two beside each other. keys: of them. told: of each, above its figure; '' for none."""
    figures = list(zip(keys, shown, told, strict=True))
    for start in range(0, len(figures), 2):
        row = figures[start : start + 2]
        with on_one_level(f"{name}_{start}"):
            columns = figures_beside(len(row), f"{name}_{start}")
        for column, (key, figure, said) in zip(columns, row, strict=True):
            if said:
                first, more = _first(said.replace(f" of {in_sentence(figure.title)}", "", 1))
                second, more = _first(more)
                figure = replace(
                    figure, finding=f"{first} {second}".strip(), sentence=f"{more} {figure.sentence}".strip()
                )
            with column:
                _chart(figure, f"{name}_{key}")


def next_steps() -> None:
    """Draw the links to what a reader does next."""
    with link_buttons(_NEXT):
        st.page_link("pages/explore.py", label="See sinks in one recording", icon=":material/blur_on:")
        st.page_link("pages/causes.py", label="Hide them: what changes?", icon=":material/science:")


def _alike(told: dict[str, str]) -> str:
    """Return what is told of every set once where it is the same, else with the names."""
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{words} ({name})" for name, words in told.items())


def _nulls() -> None:
    """Draw what each null is, in a fold."""
    with st.expander("What each null is", icon=":material/balance:", key="sets_nulls"):
        rows = [
            f"- **{plain(null.called)}**{_titled(null)}: {plain(null.sentence)}{_MOST if name == PLACES else ''}"
            for name, null in MOVEMENT_NULLS.items()
        ]
        st.markdown("\n".join([*rows, f"- {plain(set_measures.IID_SENTENCE)}"]))


def _titled(null: MovementNull) -> str:
    """Return the name of a null in tables, where sentences have another one."""
    return "" if null.called == null.title else f" ({plain(null.title)})"


def _fold(one_set: OpenSet, title: str, table: pd.DataFrame, sentences: list[str]) -> None:
    """Draw a table with a row per layer and what is said of the set, in a fold."""
    title, named = f"{one_set.name}: {title}", f"{title.replace(' ', '_')}_{one_set.key}"
    with st.expander(plain(title), icon=":material/table_rows:", key=f"table_{named}"):
        st.caption(plain(legend(table)))
        with st.container(height=_TALL if len(table) > _MOST_ROWS else "content", border=False, key=f"rows_{named}"):
            st.table(table.map(_cell), border="horizontal", hide_index=True)
        st.markdown("\n".join(f"- {plain(each)}" for each in (*sentences, *one_set.recordings.info.notes)))
    exhibit_table(title, legend(table), table, f"table_{named}")


def _cell(text: str) -> str:
    return _ICONS.get(text) or plain(text)


def _moves(sets: list[OpenSet], told: Answers, place: DeltaGenerator) -> None:
    """Draw how many sinks are new in each layer beside every null; other measures and numbers are folded."""
    rest = headline(place, MOVING, finding_of("moves of sets", _by_name(sets), told))
    beside_each_other([one_set.key for one_set in sets], _births(sets), "movement", rest)
    _counting(sets, told, MOVING)
    for one_set in sets:
        answer = told[one_set.name]
        said = [sentence for sentence in (answer.movement, answer.exceptions) if sentence]
        _fold(one_set, "new sinks beside each null", movement_table(answer), [*said, *answer.said.get(_MOVEMENT, ())])
    with st.expander("Other measures of movement", icon=":material/show_chart:", key="sets_other_moves"):
        for one_set in sets:
            _chart(_movement(one_set, recording_sets.PANELS[1:]), f"moves_{one_set.key}")
            apart = _queries_apart(one_set)
            if apart is not None:
                _chart(apart, f"queries_{one_set.key}")
    contrasts = _contrasts(sets)
    if contrasts:
        with st.expander("The published measure, beside the left-to-right model", icon=":material/compare_arrows:"):
            st.caption(plain(CENTROID_CAVEAT))
            for sentence in contrasts:
                st.markdown(plain(sentence))
    _nulls()


def _over_steps(sets: list[OpenSet], told: Answers, place: DeltaGenerator) -> None:
    """Draw the kinds of sinks over the steps; the curves are folded."""
    _counting(sets, told)
    _answer(place, "Over the steps", finding_of("steps of sets", _by_name(sets)))
    scopes = [
        "all layers together",
        *(f"layer {layer}" for layer in range(min(one_set.recordings.layers for one_set in sets))),
    ]
    of_layer = pick("Sinks of", scopes, "set_scope", width=320)
    scope = scopes.index(of_layer) - 1
    _chart(_kinds(sets, scope))
    with st.expander("Curves, by token state and prompt", icon=":material/show_chart:", key="sets_curves"):
        noise = recording_sets.noise_of(one_set.recordings for one_set in sets)
        read_split("set_split", noise)
        of_tokens, toggle = keyed_columns([2, 1], "sets_by_layer", vertical_alignment="bottom")
        split = pick(
            "Count sinks on",
            [name for name in SPLITS if name == ALL or all(name in one_set.recordings.info.parts for one_set in sets)],
            "set_split",
            of_tokens,
            format_func=lambda name: undecided_named(name, noise),
            help=why_apart(noise),
        )
        singles = toggle.toggle(
            "Single prompts", key="set_singles", bind="query-params", help="Every prompt's own curve, as a thin line."
        )
        names = [
            name
            for name in sets[0].recordings.info.curves
            if name in CURVES and split in set_measures.parts_of(sets[0].recordings, name)
        ]
        _curves(sets, names, scope, split, singles)


def _curves(sets: list[OpenSet], names: list[str], scope: int, split: str, singles: bool) -> None:
    for index in range(0, len(names), 2):
        places = figures_beside(2, f"curves_{names[index]}")
        for column, name in zip(places, names[index : index + 2], strict=False):
            with column:
                _chart(_curve(sets, name, scope, split, singles))


def _chart(shown: Exhibit, key: str | None = None) -> None:
    chart(shown, key or f"set_{shown.name}")


def _by_head(sets: list[OpenSet], told: Answers, place: DeltaGenerator) -> None:
    """Draw every head of the sets recorded with heads."""
    _counting(sets, told)
    metric = pick("Metric", of_mass(), "set_metric", format_func=lambda name: HEAD_METRICS[name].title, width=320)
    shown = _heads(sets, metric)
    said = {name: figure.finding.removesuffix(".").partition(". ") for name, figure in shown.items()}
    _answer(
        place,
        "Head by head",
        [
            f"{HEAD_METRICS[metric].title} of {in_sentence(name)}: {first[0].lower()}{first[1:]}."
            for name, (first, *_) in said.items()
        ],
    )
    for one_set in sets:
        if one_set.name in shown:
            rest = said[one_set.name][2]
            _chart(replace(shown[one_set.name], finding=rest and f"{rest}."), f"heads_{one_set.key}")
        else:
            st.caption(f"{plain(one_set.name)}: recorded without this metric. Record it again.")


def _prompts(sets: list[OpenSet], told: Answers, place: DeltaGenerator) -> None:
    """Draw one prompt of the set, and the button that records it on its own."""
    _counting(sets, told)
    one_set = sets[0]
    said = finding_of("prompts of a set", one_set.name, one_set.recordings)
    _answer(place, "Single prompts", [said] if said else [])
    prompts = one_set.recordings.info.prompts
    heading(f"Every prompt of {in_sentence(one_set.name)}", "Scroll for all; record one again to explore it.", None)
    st.dataframe(
        as_read(set_tables.prompt_table(one_set.recordings), ("prompt", "written")),
        hide_index=True,
        height=400 if len(prompts) > _WHOLE else "content",
        alt="Every prompt with its numbers",
        column_config={text: st.column_config.TextColumn(width=230) for text in ("prompt", "written")},
    )
    within("set_prompt", len(prompts) - 1)
    box, button = st.columns([4, 1], vertical_alignment="bottom")
    number = box.selectbox(
        "Prompt",
        range(len(prompts)),
        key="set_prompt",
        format_func=lambda index: f"{index + 1}. {prompts[index].text}",
        help="Records it again with every head. A set keeps only its numbers.",
    )

    def record() -> None:
        spec = RecordSpec(
            model=ModelSpec.model_validate(one_set.job.spec["model"]),
            prompt=prompts[number].text,
            sampling=one_set.recordings.info.sampling,
            seed=one_set.recordings.info.seed,
            chat_template="on" if one_set.recordings.info.chat_template else "off",
        )
        st.session_state[_RECORDED] = begin("record", spec).id

    starting_button("Record it", "look_at_prompt", record, button, icon=_RECORD_ICON, width="stretch")
    job = engine().job(st.session_state.get(_RECORDED, ""))
    if job is not None and not job.ended:
        asking.follow(job.id, "Recording the prompt with every head")
    elif job is not None and job.state == "done":
        query = {"recording": job.id}
        st.page_link("pages/explore.py", label="**Open it in Explore**", icon=":material/blur_on:", query_params=query)
    elif job is not None:
        st.error(plain(job.reason) or "The recording was cancelled.")


VIEWS: dict[str, Callable[[list[OpenSet], Answers, DeltaGenerator], None]] = {
    WHERE: _of_layers,
    MOVING: _moves,
    "Over the steps": _over_steps,
    "Head by head": _by_head,
    "Single prompts": _prompts,
}
"""The views over prompts, by their names in the address."""


# --- computed once ----------------------------------------------------------------------------------------------


def _by_name(sets: list[OpenSet]) -> set_tables.Sets:
    return {one_set.name: one_set.recordings for one_set in sets}


@cached(16, "Measuring every layer…", BY_SET)
def _layers(sets: list[OpenSet]) -> list[Exhibit]:
    return recording_sets.each_by_layer(_by_name(sets))


@cached(16, of=BY_SET)
def _strengths(sets: list[OpenSet]) -> Exhibit:
    return recording_sets.strengths(_by_name(sets))


@cached(16, "Counting sinks in other ways…", BY_SET)
def _counts(sets: list[OpenSet]) -> Exhibit:
    return recording_sets.counts(_by_name(sets))


@cached(16, "Holding it against its nulls…", BY_SET)
def _contrasts(sets: list[OpenSet]) -> list[str]:
    return [sentence for _, sentence in set_contrast.contrasts_in_words(_by_name(sets))]


@cached(16, "Holding it against its nulls…", BY_SET)
def _answers(sets: list[OpenSet]) -> dict[str, SetAnswer]:
    return layers.answers(_by_name(sets))


@cached(16, "Measuring how sinks move…", BY_SET)
def _births(sets: list[OpenSet]) -> list[Exhibit]:
    return recording_sets.each_births(_by_name(sets))


@cached(16, "Measuring how sinks move…", BY_SET)
def _movement(one_set: OpenSet, shown: tuple[str, ...]) -> Exhibit:
    return recording_sets.movement(one_set.name, one_set.recordings, shown)


@cached(16, of=BY_SET)
def _queries_apart(one_set: OpenSet) -> Exhibit | None:
    return queries_apart(one_set.recordings)


@cached(32, of=BY_SET)
def _kinds(sets: list[OpenSet], scope: int) -> Exhibit:
    return recording_sets.kinds_over_steps(_by_name(sets), scope)


@cached(64, of=BY_SET)
def _curve(sets: list[OpenSet], name: str, scope: int, split: str, singles: bool) -> Exhibit:
    return recording_sets.curve(_by_name(sets), name, scope, split, singles)


@cached(32, "Measuring every head…", BY_SET)
def _heads(sets: list[OpenSet], metric: str) -> dict[str, Exhibit]:
    return recording_sets.heads_of_sets(_by_name(sets), metric)
