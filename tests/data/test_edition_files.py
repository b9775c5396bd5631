import zipfile

from data.zips import DEV, EVAL, TRAIN
from zenodo_server import zipped

from asd_jax.data.clips import find_clips
from asd_jax.data.dcase import EDITIONS

LIST = "/nttcslab/dcase2023_task2_baseline_ae/main/datasets/eval_data_list_2024.csv"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_second_run_fetches_nothing(server, download, tmp_path):
    download(tmp_path, "--machines=fan,valve")
    before = len(server.log)
    files = names(tmp_path)
    done = download(tmp_path, "--machines=fan,valve")
    assert done.returncode == 0 and "0 to fetch" in done.stdout
    assert [what for _, what, _, _ in server.log[before:]] == [f"/api/records/{DEV}"]
    assert names(tmp_path) == files


def test_evaluation_clips_come_with_their_labels_and_licence(server, download, tmp_path):
    train = "section_00_source_train_normal_0000_noAttribute.wav"
    test = "section_00_0007.wav"
    server.records[TRAIN] = {
        "eval_data_Scanner_train.zip": zipped({"Scanner/train/" + train: b"old"}),
        "eval_data_Scanner_train_r2.zip": zipped({"Scanner/train/" + train: b"new"}),
    }
    server.records[EVAL] = {"eval_data_Scanner_test.zip": zipped({"Scanner/test/" + test: b"x"})}
    server.pages[LIST] = (
        b"Scanner\nsection_00_0007.wav,section_00_target_test_anomaly_0007_noAttribute.wav\n"
    )
    done = download(tmp_path, "--machines=Scanner")
    assert done.returncode == 0, done.stderr
    assert "evaluating results only" in done.stdout
    said = [(clip.split, clip.domain, clip.label, clip.attribute) for clip in find_clips(tmp_path)]
    assert said == [("test", "target", 1, ""), ("train", "source", 0, "")]
    assert (tmp_path / "eval_data/raw/Scanner/train" / train).read_bytes() == b"new"


def test_toy_labels_of_2022_come_from_the_evaluator(server, download, tmp_path):
    table = EDITIONS[2022]
    server.records[table.records[2]] = {
        "eval_data_ToyCar_test.zip": zipped(
            {
                "ToyCar/test/section_03_0000.wav": b"x",
                "ToyCar/train/section_03_source_train_normal_0000.wav": b"x",
            }
        )
    }
    for url in table.ground_truth:
        page = "/" + url.split("/", 3)[3]
        server.pages[page] = b"" if "list" in page else b"section_03_0000.wav,1\n"
    done = download(tmp_path, "--subset=eval", "--machines=ToyCar", year=2022)
    assert done.returncode == 0, done.stderr
    toys = {
        f"ground_truth_{m}_section_0{s}_test.csv" for m in ("ToyCar", "ToyTrain") for s in (3, 4, 5)
    }
    for kind in ("data", "domain"):
        assert set(names(tmp_path / f"ground_truth/ground_truth_{kind}")) == toys
    (clip,) = [clip for clip in find_clips(tmp_path, splits=["test"]) if clip.machine == "ToyCar"]
    assert (clip.domain, clip.label) == ("target", 1)


def test_mirror_without_ground_truth_says_so(server, download, tmp_path):
    server.records[EVAL] = {
        "eval_data_Scanner_test.zip": zipped({"Scanner/test/section_00_0007.wav": b"x"})
    }
    done = download(tmp_path, "--machines=Scanner", "--subset=eval")
    assert done.returncode == 0 and "the evaluation clips stay without labels" in done.stderr


def test_what_is_lost_while_it_is_unpacked_is_not_done(server, download, tmp_path, monkeypatch):
    def lose(zipped, part):
        extract(zipped, part)
        next(part.rglob("*anomaly*.wav")).unlink()

    extract = zipfile.ZipFile.extractall
    monkeypatch.setattr(zipfile.ZipFile, "extractall", lose)
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 1 and "1 of 3 files are not there after unpacking" in done.stderr
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "*")
    assert "1 to fetch" in download(tmp_path, "--machines=fan").stdout
    assert len(find_clips(tmp_path)) == 2 and len(server.sent("dev_fan.zip")) == 1
