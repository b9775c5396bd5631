"""The published results of re-run baselines, reproduced by the command from their score files."""

import csv
import itertools
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from asd_jax.scoring.evaluation import evaluate_system
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.submission import read_submission


def scores(name):
    if "ASD_SHARED" not in os.environ:
        pytest.fail("set ASD_SHARED to the folder that holds scores/")
    return Path(os.environ["ASD_SHARED"]) / "scores" / name


def by_command(tmp_path, name, year, *flags):
    target = tmp_path / "score.json"
    command = [
        sys.executable,
        "-m",
        "asd_jax.dcase_score",
        f"--scores={scores(name)}",
        f"--year={year}",
        *flags,
    ]
    done = subprocess.run(
        [*command, f"--json={target}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text())


def published(name):
    """result.csv -> {(machine, section, domain or ""): {column: value}}, and its rows of means."""
    rows, means, machine, header = {}, {}, None, []
    for line in scores(name).joinpath("result.csv").read_text().splitlines():
        cells = [
            cell.strip('"')
            for cell in line.replace("types, sections, and", "types sections and").split(",")
        ]
        if len(cells) == 1:
            machine = cells[0] or machine
        elif cells[0] in ("id", "section"):
            header = cells
        elif cells[0].isdigit():
            domain = cells[1] if header[1] == "domain" else ""
            start = 2 if domain else 1
            rows[machine, cells[0], domain] = dict(
                zip(header[start:], map(float, cells[start:]), strict=True)
            )
        elif "over all" in cells[0]:
            means[cells[0].split()[0]] = [float(cell) for cell in cells[1:] if cell]
    return rows, means


@pytest.mark.parametrize(
    "name, flags, auc, pauc",
    [
        ("2020_dev_mlperf_tiny_ToyCar", (), 0.864397431185167, 0.7468649647274275),
        ("2020_dev_izorin_baseline", ("--machines=fan",), 0.6484284872097921, 0.5283463453129738),
    ],
)
def test_2020(tmp_path, name, flags, auc, pauc):
    found = by_command(tmp_path, name, 2020, *flags)
    assert found["arithmetic_mean"] == pytest.approx({"auc": auc, "pauc": pauc}, abs=1e-12)
    rows, _ = published(name)
    assert len(rows) == 4
    for (machine, section, _), values in rows.items():
        ours = found["machines"][machine][section]
        assert [ours["auc"], ours["pauc"]] == pytest.approx(
            [values["AUC"], values["pAUC"]], abs=1e-12
        )


def test_2021(tmp_path):
    found = by_command(tmp_path, "2021_dev_yokaji_ae", 2021)
    assert found["arithmetic_mean"]["auc"] == pytest.approx(0.6359747190279469, abs=1e-12)
    assert found["arithmetic_mean"]["pauc"] == pytest.approx(0.535995672909472, abs=1e-12)
    assert found["harmonic_mean"]["auc"] == pytest.approx(0.6219564803763779, abs=1e-12)
    assert found["harmonic_mean"]["pauc"] == pytest.approx(0.5326522376708069, abs=1e-12)
    rows, _ = published("2021_dev_yokaji_ae")
    assert len(rows) == 42
    for (machine, section, domain), values in rows.items():
        ours = found["machines"][machine][section]
        names = {
            "AUC": "auc",
            "pAUC": "pauc",
            "precision": "precision",
            "recall": "recall",
            "F1 score": "f1",
        }
        for column, value in values.items():
            assert ours[f"{names[column]}_{domain}"] == pytest.approx(value, abs=1e-12)


def test_2022(tmp_path):
    found = by_command(tmp_path, "2022_dev_returncode13_ae", 2022)
    means = {
        "auc_source": 0.727952380952381,
        "auc_target": 0.4752666666666667,
        "pauc": 0.5430325814536341,
    }
    assert found["arithmetic_mean"] == pytest.approx(means, abs=1e-12)
    rows, over_all = published("2022_dev_returncode13_ae")
    assert len(rows) == 21
    assert list(found["harmonic_mean"].values()) == pytest.approx(
        over_all["harmonic"][:3], abs=1e-12
    )
    for (machine, section, _), values in rows.items():
        for column, value in values.items():
            name = column.replace(" (", "_").replace(")", "").replace("F1 score", "f1").lower()
            assert found["machines"][machine][section][name] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("year, clips", [(2021, 8635), (2022, 4200)])
def test_the_evaluators_folders_label_every_evaluation_clip(year, clips):
    labels = read_labels(scores(f"evaluator_{year}"), year)
    assert len(labels) == clips
    assert {domain for domain, _ in labels.values()} == {"source", "target"}
    assert {label for _, label in labels.values()} == {0, 1}


def test_2023(tmp_path):
    """The baseline on the evaluation machines; one result_<machine>.csv each."""
    folder = scores("2023_eval_mageda_baseline") / "MSE"
    found = by_command(tmp_path, "2023_eval_mageda_baseline/MSE", 2023)
    assert found["official_score"] == pytest.approx(0.5988161137636059, abs=1e-12)
    assert found["notes"] == []
    columns = {
        "AUC (source)": "auc_source",
        "AUC (target)": "auc_target",
        "pAUC": "pauc",
        "precision (source)": "precision_source",
        "recall (target)": "recall_target",
        "F1 score (target)": "f1_target",
    }
    for machine in found["machines"]:
        header, row, *_ = (folder / f"result_{machine}.csv").read_text().splitlines()
        printed = dict(zip(header.split(","), row.split(","), strict=True))
        for column, ours in columns.items():
            value = found["machines"][machine]["00"][ours]
            assert value == pytest.approx(float(printed[column]), abs=1e-12)


@pytest.mark.parametrize(
    "number, expected", [(1, 0.66395), (2, 0.66532), (3, 0.67419), (4, 0.68037)]
)
def test_submissions_of_2022(number, expected):
    """Files without `_test` in their names, and labels of the official evaluator."""
    labels = read_labels(scores("evaluator_2022"), 2022)
    folder = scores(f"2022_eval_Xiao_HEU-HIT/task2_{number}")
    found = evaluate_system(str(folder), read_submission(folder, labels=labels), 2022)
    # The team's report prints the harmonic mean of the machines' harmonic means, of 9 values each.
    assert found["official_score"] == pytest.approx(expected, abs=5e-6)
    assert found["notes"] == []
    toy = [values["auc_source"] for values in found["machines"]["ToyCar"].values()]
    assert min(toy) > 0.85


def test_lists_of_2022_contradict_the_evaluator_on_half_of_the_toy_clips():
    """Systems that are good on ToyCar by the evaluator's labels are at chance by the lists'."""
    from sklearn.metrics import roc_auc_score

    folder = scores("evaluator_2022")
    contradicted = clips = 0
    by_evaluator = defaultdict(list)
    by_list = defaultdict(list)
    for machine, section in itertools.product(("ToyCar", "ToyTrain"), ("03", "04", "05")):
        file = folder / f"ground_truth_data/ground_truth_{machine}_section_{section}_test.csv"
        label = {name: int(value) for name, value in csv.reader(file.open())}
        rows = csv.DictReader(
            (folder / f"ground_truth_attributes/{machine}" / f"attributes_{section}.csv").open()
        )
        listed = {Path(row["file_name"]).name: row["file_name_with_attributes"] for row in rows}
        listed = {name: int("anomaly" in other) for name, other in listed.items()}
        contradicted += sum(label[name] != listed[name] for name in label)
        clips += len(label)
        for number in range(1, 5) if machine == "ToyCar" else ():
            system = scores(f"2022_eval_Xiao_HEU-HIT/task2_{number}")
            (found,) = system.glob(f"anomaly_score_{machine}_section_{section}*.csv")
            score = {name: float(value) for name, value in csv.reader(found.open())}
            for of, labels in ((by_evaluator, label), (by_list, listed)):
                of[number].append(roc_auc_score([labels[n] for n in score], [*score.values()]))
    assert (contradicted, clips) == (608, 1200)
    # measured .86 to .94, and .49 to .53
    assert all(np.mean(aucs) > 0.85 for aucs in by_evaluator.values())
    assert all(0.45 < np.mean(aucs) < 0.55 for aucs in by_list.values())


def test_genuine_clips_come_from_released_names_to_the_official_values(shared, tmp_path):
    """RoboticArm of 2024: embedded under released names, scored by a list in the baseline's form.

    The 39 training clips are of one operating condition, so the values are no measure of quality;
    scikit-learn computes them from the same scores and the labels of the list.
    """
    from sklearn.metrics import roc_auc_score

    arm = shared / "audio" / "dcase2024_RoboticArm"
    rows = [line.split(",") for line in (arm / "ground_truth_57.csv").read_text().splitlines()]
    ground_truth = tmp_path / "eval_data_list_2024.csv"
    ground_truth.write_text("RoboticArm\n" + "".join(f"{a},{b}\n" for a, b, *_ in rows))
    run = [sys.executable, "-m", "asd_jax.evaluate", "--config=configs/dcase2024.py"]
    keys = {"data.root": arm, "data.clip_seconds": 7.9, "model.encoder": "filter_bank"}
    keys |= {"report.page": False, "model.dtype": "float32"}
    run += [f"--config.{key}={value}" for key, value in keys.items()]
    done = subprocess.run(
        [*run, f"--workdir={tmp_path}/run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "RoboticArm section 00: test clips carry no label" in done.stdout.replace("\n", " ")
    found = by_command(tmp_path, tmp_path / "run", 2024, f"--ground_truth={ground_truth}")
    path = tmp_path / "run/scores/anomaly_score_RoboticArm_section_00_test.csv"
    score = dict(line.split(",") for line in path.read_text().splitlines())
    label = np.array([int(row[2]) for row in rows])
    value = np.array([float(score[row[0]]) for row in rows])
    ours = found["machines"]["RoboticArm"]["00"]
    for domain in ("source", "target"):
        own = (label == 1) | np.array([domain in row[1] for row in rows])
        expected = roc_auc_score(label[own], value[own])
        assert ours[f"auc_{domain}"] == pytest.approx(expected, abs=1e-12)
    assert ours["pauc"] == pytest.approx(roc_auc_score(label, value, max_fpr=0.1), abs=1e-12)
    assert "scores of 1 of the 9 evaluation machines" in found["notes"][-1]
