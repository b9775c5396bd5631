from asd_jax.data.dcase import edition
from asd_jax.scoring.coverage import coverage_notes, scores_by_set


def test_development_and_evaluation_machines_have_scores_of_their_own():
    values = {"auc_source": 0.8, "auc_target": 0.8, "pauc": 0.8}
    half = dict.fromkeys(values, 0.4)
    both = {"fan": {"00": values}, "Scanner": {"00": half}, "mine": {"00": half}}
    assert scores_by_set(both, 2024) == {"dev": 0.8, "evaluation": 0.4}
    assert scores_by_set({"fan": {"00": values}, "mine": {"00": half}}, 2024) == {}


def test_a_set_that_is_whole_or_absent_has_no_note():
    assert coverage_notes([(machine, "00") for machine in edition(2024).evaluation], 2024) == []
    assert coverage_notes([("mine", "00")], 2024) == []


def test_machines_that_are_absent_are_named():
    dev = list(edition(2024).dev)
    places = [(machine, "00") for machine in dev[2:]]
    (note,) = coverage_notes([*places, ("mine", "00")], 2024)
    assert note == (
        f"scores of {len(dev) - 2} of the {len(dev)} development machines of DCASE 2024, so this "
        f"is not the challenge's score; missing: {dev[0]}, {dev[1]}"
    )


def test_sections_are_counted_where_machines_have_several():
    places = [(m, s) for m, sections in edition(2022).evaluation.items() for s in sections]
    (note,) = coverage_notes([place for place in places if place != ("fan", "04")], 2022)
    assert note.startswith("scores of 20 of the 21 evaluation sections of DCASE 2022")
    assert note.endswith("missing: fan 04")
