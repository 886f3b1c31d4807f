"""The benchmark's plan leaks nobody, its cases run, and what it writes is well formed. No test looks at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.benchmark import plan, quality, speed
from palmist.errors import InputError
from palmist.splits import FOLDS, SPLITS

ROOT = Path(__file__).resolve().parents[3]


def test_every_job_has_its_configuration_and_comes_after_what_it_needs() -> None:
    done: set[str] = set()
    for job in (*plan.jobs(), *plan.table_jobs()):
        assert (ROOT / job.config).is_file()
        assert job.after is None or job.after in done
        assert job.name not in done
        done.add(job.name)


def test_no_model_sees_the_people_that_it_is_tested_on() -> None:
    for job in (*plan.jobs(), *plan.table_jobs()):
        people = set(job.settings.get("data.sets.reach_to_grasp.subjects", []))
        signers = set(job.settings.get("data.sets.asl_words.subjects", []))
        if job.name.startswith("a_reach_"):
            person = job.name.removeprefix("a_reach_").upper()
            assert people == set(SPLITS["reach_to_grasp"][f"leave_out_{person.lower()}"].train or ())
            assert person in FOLDS[int(str(job.after)[-1])].people  # nor has its P-block
            continue
        if "fold" in job.name or job.name[0] == "t":  # the tables are made on fold 1
            fold = FOLDS[int(job.name.split("fold")[1][0]) if "fold" in job.name else 1]
            assert people or job.name == "p_fold1_words_only"
            assert signers
            assert not people & set(fold.people)
            assert not signers & set(fold.signers)


@pytest.mark.parametrize("case", ["metrics", "store", "small", "render", "narrate"])
def test_speed_cases_give_records(case: str) -> None:
    threads = torch.get_num_threads()
    records = speed.run(case, repeats=2)
    assert torch.get_num_threads() == threads
    assert all(np.isfinite(record.value) and record.value >= 0 for record in records)
    assert len({record.name for record in records}) == len(records)


def test_the_round_trip_of_every_leap_frame_is_exact() -> None:
    double, single = quality.run("round_trip")
    assert double.value <= 1e-6
    assert single.value <= 1e-4
    assert double.n > 6000


def test_unknown_sections_are_named() -> None:
    with pytest.raises(InputError, match="words"):
        quality.run("taste")
    with pytest.raises(InputError, match="stream"):
        speed.run("taste")
