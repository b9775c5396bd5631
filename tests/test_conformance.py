"""The page of claims: what proves each claim is there, and says what the claim says."""

import importlib.util
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

REPOSITORY = Path(__file__).parent.parent
NUMBER = re.compile(r"(?<![\w.])(?:\d[\d_,]*(?:\.\d+)?|\.\d+)(?:e-?\d+)?")
SUITE = """<testsuites><testsuite timestamp="2026-11-29T12:00:00">
<testcase classname="tests.features.test_a" name="test_one[x]" time="0.5"/>
<testcase classname="tests.features.test_a" name="test_one[y]" time="0.25">{y}</testcase>
<testcase classname="tests.test_b" name="test_two" time="0"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def conformance():
    place = REPOSITORY / "docs" / "hooks" / "conformance.py"
    spec = importlib.util.spec_from_file_location("conformance", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def claims(conformance):
    return [claim for of in conformance.read_claims().values() for claim in of]


@pytest.fixture(scope="module")
def tests(conformance):
    return conformance.find_tests()


def numbers(text):
    found = (match.replace("_", "").replace(",", "") for match in NUMBER.findall(text))
    return {float(number) for number in found}


def test_every_claim_has_one_proof_and_a_figure_or_the_reason_why_it_was_not_checked(claims):
    assert len(claims) >= 120
    assert len({claim.claim for claim in claims}) == len(claims)
    for claim in claims:
        proofs = [claim.test, claim.result, claim.block, claim.unchecked]
        assert len([proof for proof in proofs if proof]) == 1, claim
        assert bool(claim.figure) != bool(claim.unchecked), claim
        # They would end the cell of a table, or begin a mark of HTML.
        assert not set("|<>") & set(claim.claim + claim.figure + claim.unchecked), claim
    assert any(claim.unchecked for claim in claims)


def test_the_numbers_of_a_figure_stand_in_the_test_that_it_is_of(claims, tests, conformance):
    for claim in claims:
        if claim.test:
            source = conformance.test_of(claim, tests).source
            missing = numbers(claim.figure) - numbers(source)
            assert not missing, f"{claim.test} says nothing of {missing}"


def test_the_numbers_of_a_figure_are_those_of_its_result(claims, conformance):
    for claim in claims:
        if claim.result:
            made = conformance.result_of(claim)
            assert conformance.VALUE.search(claim.figure), claim
            assert "{" not in conformance.figure_of(claim)
            assert claim.command or made["command"], claim
            assert claim.date or re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"]), claim
            assert claim.machine or made["device"], claim
        if claim.block:
            assert claim.command and claim.date and claim.machine, claim
            assert numbers(claim.figure) <= numbers(conformance.block_of(claim)), claim


def test_every_benchmark_of_a_claim_is_a_module(claims, conformance):
    named = set()
    for claim in claims:
        said = [claim.command, claim.unchecked, *re.findall(r"`(.*?)`", claim.claim)]
        said += [conformance.result_of(claim).get("command", "")] if claim.result else []
        named |= set(re.findall(r"python -m ([\w.]+)", " ".join(said)))
    assert len(named) > 5
    missing = [name for name in named if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()]
    assert not missing


def test_what_is_no_proof_is_named(conformance, tmp_path):
    tests = {"test_a": [conformance.Test(Path(f"a/b/{name}.py"), "") for name in "xy"]}
    for name, said in (("test_b", "no file"), ("test_a", "a/b/x.py, a/b/y.py")):
        with pytest.raises(ValueError, match=f"{name} is in {said}; name one test"):
            conformance.test_of(conformance.Claim("a", test=name), tests)
    for file in ("y", "b/y"):
        found = conformance.test_of(conformance.Claim("a", test=f"{file}::test_a"), tests)
        assert found.file.name == "y.py"
    (tmp_path / "claims.toml").write_text('[[a]]\nclaim = "b"\nfigur = "c"\n')
    with pytest.raises(msgspec.ValidationError, match="figur"):
        conformance.read_claims(tmp_path / "claims.toml")
    with pytest.raises(ValueError, match="no file of pytest --junit-xml"):
        conformance.read_junit(tmp_path)


@pytest.mark.parametrize(("y", "ended"), [("", "passed"), ("<failure/>", "failed")])
def test_the_page_shows_how_a_test_ended(conformance, tmp_path, monkeypatch, y, ended):
    (tmp_path / "default.xml").write_text(SUITE.format(y=y))
    place = Path("tests/features/test_a.py")
    monkeypatch.setattr(
        conformance, "find_tests", lambda: {"test_one": [conformance.Test(place, "")]}
    )
    claims = {"Topic": [conformance.Claim("It holds", figure="1e-6", test="test_one")]}
    claims["Topic"].append(conformance.Claim("It is fast", unchecked="No GPU was lent."))
    text = conformance.page(claims, tmp_path)
    proof = "<code>test_<wbr>one</code> in tests/<wbr>features/<wbr>test_<wbr>a.py"
    assert f"| It holds | 1e-6 | {proof} | {ended}, 0.75 s | 2026-11-29, " in text
    assert "| It is fast |  | No GPU was lent. | not checked |  |" in text
    assert f"2 claims in 1 topics, 1 {ended}, 1 not checked" in text
    without = conformance.page(claims)
    assert f"| {proof} | {conformance.NOT_RUN} | each run of .ci/run |" in without


def test_a_skipped_test_is_shown_as_skipped(conformance, tmp_path):
    (tmp_path / "default.xml").write_text(SUITE.format(y="<skipped/>"))
    found = conformance.read_junit(tmp_path)
    assert found["tests.test_b", "test_two"] == ("skipped", 0.0, "2026-11-29")
    assert found["tests.features.test_a", "test_one"].ended == "passed"  # one of its parameters


def test_the_page_names_every_claim(conformance):
    claims = conformance.read_claims()
    text = conformance.page(claims)
    assert all(f"| {claim.claim} |" in text for of in claims.values() for claim in of)
    assert all(f"\n## {topic}\n" in text for topic in claims)
    assert tomllib.loads(conformance.CLAIMS.read_text()).keys() == claims.keys()
