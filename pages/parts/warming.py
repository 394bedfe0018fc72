"""Work that the first visitor would wait for, done as the server starts: loading what the first page computes with."""

import gc
import logging
import threading

_FEWER = (50_000, 20, 50)  # gc thresholds: reading the answers of 36 runs takes 0.6 s with these, 0.9 s with Python's


def warm_up() -> threading.Thread:
    """Start loading it in a thread, so that the server answers meanwhile."""
    gc.set_threshold(*_FEWER)
    thread = threading.Thread(target=_load, name="sinkscope-warm-up", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    """Draw the example that ships and make its plan, only to load all they need. Modules of pages are left alone: their
    components register with a visitor's server.
    """
    try:
        from scipy.special import expit as _expit  # noqa: F401  for discounts of sinks

        from analysis.engine.studies import new_study
        from analysis.exhibits import study as exhibits
        from analysis.exhibits import study_report as _report  # noqa: F401
        from analysis.recording.fits import offers
        from analysis.specs import STUDY_PARTS, ModelSpec
        from analysis.study import findings, plans, rules
        from analysis.study.gather import gather as _gather  # noqa: F401

        offers(1)  # which times a product of matrices
        spec = new_study(ModelSpec())
        plans.plan_of(spec, plans.noise_of(spec, None))
        if findings.EXAMPLE.is_file():
            example = findings.read(findings.EXAMPLE)
            rules.verdicts(example)
            for part in STUDY_PARTS:
                for exhibit in exhibits.part_exhibits(example, part).values():
                    if exhibit.figure is not None:
                        exhibit.figure.to_json()
        from statsmodels.stats import proportion as _proportion  # noqa: F401  last: for intervals of accuracies
    except Exception as error:
        logging.getLogger("sinkscope").warning("Nothing could be loaded before the first visit: %s", error)
    gc.collect()
    gc.freeze()
