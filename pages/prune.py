"""Tune the discount, see the masks change, prune with and without it, and watch the accuracy come in."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from analysis.engine.run_pairs import has_setting, scored_pairs, title_of
from analysis.exhibits.with_discount import Changed
from analysis.specs import CalibrateSpec, ModelSpec, TuneParams
from analysis.tuning.statistics_file import why_not
from analysis.words import DISCOUNT_TOLD
from pages.parts.accuracy.choice import pair_results
from pages.parts.charts import export_button, start_exhibits
from pages.parts.controls import left_to_right, segments, title_row, views_row
from pages.parts.frame import run
from pages.parts.masks.pruned_models import PairMasks, draw_changed, pair_masks, projections_in_fold
from pages.parts.masks.view import masks_of
from pages.parts.plain import plain
from pages.parts.pruning.outcome import (
    accuracies_in_brief,
    accuracies_in_full,
    answer,
    answer_so_far,
    changes_in_study,
    choose_scores,
    found_in_runs,
    found_in_study,
    results_box,
    say_cut_short,
    start,
    wanted,
)
from pages.parts.pruning.runs import active_runs, finished_runs, matched_pairs, newest_pair, sweeps_at_work
from pages.parts.pruning.settings import Asked, choose_source, prune_settings
from pages.parts.session import EXPECTED, model_in_use
from pages.parts.study.choice import OfStudy, open_study
from pages.parts.tuning import views
from pages.parts.tuning.preview import (
    Opened,
    ask_rest,
    kept_a,
    offer_preview,
    opened,
    setting_in_words,
    statistics_job,
    why_no_noise,
)
from pages.parts.tuning.suggestions import suggest_view

PRUNED, ACCURACY, MASKS, DISCOUNT, SUGGEST = "Pruned models", "Accuracy", "Masks", "Discount", "Suggest settings"
VIEWS = (PRUNED, ACCURACY, MASKS, DISCOUNT, SUGGEST)

_FIRST = {
    DISCOUNT: "Once masks are previewed: the weight of each token, the text as the discount sees it, scores and output "
    "errors.",
    SUGGEST: "Once masks are previewed: a search for the settings with the least output error.",
}


def main() -> None:
    """Draw the page."""
    title = title_row("Prune")
    source = title.container(key="prune_source_place", width="content")
    title.caption(DISCOUNT_TOLD, width="stretch")
    start_exhibits()
    model = model_in_use()
    first_line = st.container(key="prune_answer", gap="xsmall")
    steps = left_to_right()
    with steps.settings:
        st.markdown("**1 · Settings**", help="One set for the preview, the pruning and the search.")
        asked = prune_settings(model)
    pairs = matched_pairs(asked.specs)
    with source:
        study = choose_source(asked.specs, pairs)
    masks = pair_masks(pairs) if study is None else None
    changes = changes_in_study(study) if study is not None else () if masks is None else (masks.changed,)
    with first_line:
        if study is None and pairs and not has_setting(pairs[0], asked.specs):
            shown = plain(title_of(pairs[0].spec, method=True))
            st.markdown(f":orange-badge[Shown: {shown}] The newest runs; nothing is pruned at the settings below yet.")
        found = found_in_runs(pairs) if study is None else found_in_study(study)
        if study is None and sweeps_at_work():
            answer_so_far(asked.specs, changes)
        else:
            answer(study, pairs, found, changes)
    with steps.beneath:
        view, beside = views_row(VIEWS, "prune_view")
    with steps.preview:
        st.markdown("**2 · Preview**", help="Weights that the discount would change, before anything is pruned.")
        sample = changes[0].by_sample if study is not None and changes else ""
        preview_of = _preview(model, asked, f"{sample} ({study.within})" if study is not None and sample else "")
    with steps.outcome:
        st.markdown("**3 · Prune and score**", help="Writes pruned checkpoints to folders. The model stays as it is.")
        first, takes = st.container(key="prune_start_place"), st.container(key="prune_takes_place")
        with steps.settings:
            evaluation, scoring = choose_scores(model, asked)
        wants = wanted(asked, evaluation)
        with first:
            start(wants, takes)
        with takes:
            active_runs()
            say_cut_short(asked)
    with steps.proof, results_box(study, "prune_results"):
        accuracies_in_brief(model, asked, scoring, pairs, found, study, drawn=view != ACCURACY)
        if study is not None:
            open_study(study.name, "study")
    if changes and view != MASKS:  # which draws them in full
        place = steps.results if preview_of is not None else steps.figure
        with place, results_box(study, "prune_masks"):
            _draw_changes(study, masks, changes, changes[0].words())
    with steps.beneath:
        if view == ACCURACY:
            accuracies_in_full(wants, model, pairs, pair_results(scored_pairs(pairs)), beside)
        else:
            _beneath(view, model, asked, preview_of, study)
    if preview_of is not None:
        ask_rest(preview_of, preview_of.job)


def _draw_changes(study: OfStudy | None, masks: PairMasks | None, changes: Sequence[Changed], said: str) -> None:
    """Draw which share of the weights the discount changes; of runs layer by layer in a fold. said: of it."""
    draw_changed(changes, said, study.contrast.effect.seeds if study is not None else 0)
    if masks is not None:
        projections_in_fold(masks.comparisons, masks.floor)


def _preview(model: ModelSpec, asked: Asked, beside: str) -> Opened | None:
    """Draw which weights the discount chooses differently at these settings; return the statistics behind it, if they
    are stored. beside: as of `views.masks_preview`."""
    try:
        refused = why_no_noise(model)
    except EXPECTED:  # shown beside the button
        return None
    if refused:
        st.info(plain(refused))
        return None
    if not asked.discounts and not asked.problem:
        st.info("None of these methods discounts sinks. Add Sink-Wanda to see what a discount changes.")
        return None
    job = statistics_job(model, asked.calibration, asked.stored)
    if job is None:
        return None
    figure = st.container()
    found = opened(job)
    if found is None:
        st.error("The stored statistics are gone. Preview the masks again.")
        return None
    with figure, st.container(border=True, key="prune_preview", gap="small"):
        named = _named(found, asked.setting)
        if named:
            views.masks_preview(found, named, beside)
        with st.expander("What this is computed from", key="fold_prune_stored"):
            views.what_is_stored(found.statistics, found.job)
    return found


def _named(found: Opened, setting: TuneParams) -> dict[str, TuneParams]:
    """Return the setting and A by name; none if the statistics do not cover the setting."""
    problem, a = why_not(found.statistics, setting), kept_a()
    if problem:
        st.warning(plain(problem))
        return {}
    if a is None:
        return {"this setting": setting}
    st.caption(f"**A** {plain(setting_in_words(a))}  \n**B** {plain(setting_in_words(setting))}")
    problem = why_not(found.statistics, a)
    if problem:
        st.warning(plain(f"A is not shown. {problem}"))
    return {"B, this setting": setting} | ({} if problem else {"A": a})


def _beneath(view: str, model: ModelSpec, asked: Asked, found: Opened | None, study: OfStudy | None) -> None:
    if view == PRUNED:
        finished_runs(asked.specs, above=study is not None)
    elif view == MASKS:
        masks_of(newest_pair(asked.specs))
    elif found is None:
        offer_preview(model, asked.calibration, asked.stored, _FIRST[view])
    elif view == SUGGEST:
        suggest_view(found.job.parameters(CalibrateSpec), asked.setting)
    elif not why_not(found.statistics, asked.setting):
        view = segments("Effect of the discount", views.VIEWS, "discount_view", label_visibility="collapsed")
        a = kept_a()
        shown_a = a if a is not None and not why_not(found.statistics, a) else None
        first = "this setting" if a is None else "B, this setting"
        named = {first: asked.setting} | ({} if shown_a is None else {"A": shown_a})
        views.draw_view(view, found, named)
        settings = {name: setting_in_words(shown) for name, shown in named.items()}
        spec = found.statistics.info.spec
        export_button(
            f"SinkScope: prune, {view.lower()}",
            {**settings, "stored from": spec.model_dump(mode="json")},
            Path(spec.model.source).name,
        )


if __name__ == "__main__":
    run(main)
