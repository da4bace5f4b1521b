"""How long a training is: epochs, steps or minutes, small data sets, and the time that is left."""

import itertools

import pytest

from rgnn.base.errors import InputError
from rgnn.training import schedule
from rgnn.training.request import TrainingRequest
from rgnn.training.run import RunSettings
from rgnn.training.schedule import LEAST_STEPS, Clock, cosine, passes
from rgnn.training.settings import MOST_STEPS, TrainingSettings


@pytest.fixture
def now(monkeypatch):
    """A clock that is set by hand, in seconds."""
    time = [0.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: time[0])
    return time


@pytest.mark.parametrize("length", [{"epochs": 5}, {"steps": 500}, {"minutes": 1.0, "rate_schedule": "cosine"}])
def test_time_left_is_what_is_left(now, length) -> None:
    """A first step of ten seconds, then 0.1 s a step and 2 s of validation after each hundred."""
    clock, step, left = Clock(TrainingSettings(**length), 100), 0, {}
    while clock.goes_on(step // 100, 0) and not clock.is_over:
        now[0] += 10 if step == 0 else 0.1
        step += 1
        if step % 100 == 0:
            now[0] += 2
        clock.step, clock.elapsed = step, clock.now
        left[now[0]] = clock.left
    ended = now[0]
    assert step == 500 or "minutes" in length
    known = {time: seconds for time, seconds in left.items() if seconds is not None}
    assert len(known) >= len(left) - 1
    for time, seconds in known.items():
        if time > 22:  # a validation has been
            assert seconds == pytest.approx(ended - time, rel=0.2, abs=2.0)
    assert clock.progress == (step, step)
    assert not clock.stopped_early(step // 100)


def test_the_rate_falls_to_its_end_whatever_the_length() -> None:
    for steps in (1, 7, 1000):
        clock = Clock(TrainingSettings(steps=steps), 3)
        rates = []
        for clock.step in range(steps + 1):
            rates.append(cosine(1e-2, 1e-5, clock.share))
        assert rates[0] == pytest.approx(1e-2)
        assert rates[-1] == pytest.approx(1e-5)
        assert all(a > b for a, b in itertools.pairwise(rates))


def test_few_frames_are_passed_over_several_times_between_validations() -> None:
    assert passes(TrainingSettings(epochs=3), 8) == 1
    assert passes(TrainingSettings(steps=3), 8) * 8 >= LEAST_STEPS > (passes(TrainingSettings(steps=3), 8) - 1) * 8
    assert passes(TrainingSettings(steps=3), 500) == 1


@pytest.mark.parametrize(
    ("frames", "atoms", "steps"),
    [
        (630, 192, None),  # 50 epochs of it are the measure
        (60_000, 192, None),
        (450, 15, MOST_STEPS),
        (27, 192, 7813),
    ],
)
def test_small_data_sets_get_more_epochs(frames: int, atoms: int, steps: int | None) -> None:
    assert TrainingSettings.energy().with_length(frames, atoms).steps == steps
    assert TrainingSettings.published().with_length(frames, atoms) == TrainingSettings.published()


def test_the_length_that_is_asked_for_is_the_only_one() -> None:
    def changed(start: RunSettings, **training) -> TrainingSettings:
        return TrainingRequest(training=training).changed(start).training

    energy, default = RunSettings.preset("energy"), RunSettings.preset("default")
    assert changed(energy, epochs=3).with_length(10, 10).steps is None
    assert changed(default, steps=40).rate_schedule == "cosine"
    minutes = changed(default, minutes=2.0)
    assert (minutes.steps, minutes.minutes) == (None, 2.0)
    longer = changed(RunSettings(training=minutes), steps=9)
    assert (longer.steps, longer.minutes) == (9, None)
    with pytest.raises(InputError, match="minutes and in steps; give one"):
        changed(default, minutes=2.0, steps=3)
    with pytest.raises(InputError, match="no use for steps"):
        changed(RunSettings.preset("ridge"), steps=3)
    assert RunSettings.preset("published").training == TrainingSettings.published()
