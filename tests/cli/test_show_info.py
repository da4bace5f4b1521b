from rgnn.data.store.summary import MotionSummary, SourceSummary, StoreSummary
from rgnn_cli.show.info import store_facts


def summary(**changes) -> StoreSummary:
    facts = {
        "frames": 1200,
        "atoms": 9600,
        "edges": 100_000,
        "smallest_frame_atoms": 8,
        "largest_frame_atoms": 8,
        "elements": {"Li": 4800, "O": 4800},
        "cutoff_angstrom": 3.8,
        "mean_neighbours": 10.42,
        "fewest_neighbours": 3,
        "most_neighbours": 17,
        "force_rms_ev_per_angstrom": 0.5,
        "temperatures_kelvin": {300.0: 600, 600.0: 600},
        "sources": (SourceSummary("a.xyz", 700, {"no forces": 2}, ""), SourceSummary("b.xyz", 500, {}, "EMT")),
        "unfinished": False,
    }
    return StoreSummary(**(facts | changes))


def test_a_store_in_words() -> None:
    assert store_facts(summary()) == {
        "frames": "1,200",
        "atoms in a frame": "8",
        "elements": "Li 4,800, O 4,800",
        "cutoff": "3.8 Å",
        "neighbours": "10.4 of an atom on average, 3 to 17",
        "force": "0.500 eV/Å root mean square of a component",
        "temperatures": "300 K: 600, 600 K: 600",
        "sources": "a.xyz (700), b.xyz (500)",
        "labels": "EMT",
        "left out": "2 no forces",
    }


def test_many_temperatures_sizes_and_an_append_that_broke_off() -> None:
    facts = store_facts(
        summary(
            largest_frame_atoms=12, temperatures_kelvin=dict.fromkeys(map(float, range(10, 30)), 60), unfinished=True
        )
    )
    assert facts["atoms in a frame"] == "8 to 12" and facts["temperatures"] == "10 to 29 K"
    assert "same command" in facts["unfinished"]
    assert store_facts(summary(temperatures_kelvin={}))["temperatures"] == "not recorded"


def test_temperatures_of_velocities_are_recorded() -> None:
    found = MotionSummary(1200, 287.4, 301.2, 312.9)
    said = "287 to 313 K, 301 K on average: 1,200 by their velocities"
    assert store_facts(summary(temperatures_kelvin={}, velocities=found))["temperatures"] == said
    both = store_facts(summary(temperatures_kelvin={300.0: 5}, velocities=found))["temperatures"]
    assert both == f"300 K: 5; {said}"
