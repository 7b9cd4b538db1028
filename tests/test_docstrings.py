"""Every test of reliability, of faults and of security names a mutation that it was seen to fail of."""

import ast
from pathlib import Path

HERE = Path(__file__).parent
MARKS = ("faults", "reliability", "security")
NOT_TRIED = {  # mutations of what these guard take minutes each; the list only becomes shorter
    "test_a_dask_worker_keeps_few_of_the_runs_of_killed_clients",
    "test_a_folder_with_other_settings_is_refused",
    "test_a_killed_run_resumes_with_the_same_losses",
    "test_a_launcher_that_starts_it_again_gets_the_same_bits",
    "test_ctrl_c_ends_parent_and_workers_and_leaves_nothing_half_done",
    "test_gradients_equal_those_of_one_process",
    "test_killed_at_any_instant_it_ends_with_the_same_bytes",
    "test_native_rate",
    "test_the_student_is_a_plain_file_for_a_bare_network",
    "test_the_surroundings_do_not_matter",
    "test_twenty_trainings_killed_at_random_end_with_the_same_bits",
    "test_two_processes_train_one_network",
    "test_workers_that_cannot_start_stop_the_job",
}


def marks(node: ast.AST) -> set[str]:
    """Return the names of the marks in an expression, `pytest.mark.faults` and the like."""
    attributes = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
    return {one.attr for one in attributes if isinstance(one.value, ast.Attribute) and one.value.attr == "mark"}


def unnamed(source: str) -> list[str]:
    """Return the names of marked tests whose docstring does not say when they fail; those for a GPU are left out."""
    tree = ast.parse(source)
    assigned = [
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    of_all = set().union(*(marks(node.value) for node in assigned))
    found = []
    for test in tree.body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            own = of_all.union(*map(marks, test.decorator_list))
            if own & set(MARKS) and "gpu" not in own and "Fails when " not in (ast.get_docstring(test) or ""):
                found.append(test.name)
    return found


def test_every_marked_test_names_its_mutation() -> None:
    """Fails when a test with one of the three marks has no docstring that says what it fails of."""
    found = [
        f"{path.relative_to(HERE)}: {name}"
        for path in sorted(HERE.rglob("test_*.py"))
        for name in unnamed(path.read_text())
    ]
    assert {one.partition(": ")[2] for one in found} == NOT_TRIED, found


def test_a_mark_is_seen_wherever_it_stands() -> None:
    """Fails when `unnamed` looks at the marks of the tests alone, or at those of the module alone."""
    test = "def test_a():\n    {}\n"
    for mark in MARKS:
        call = f'{mark}("A1")' if mark == "reliability" else mark
        for source in (
            f"@pytest.mark.{call}\n" + test,
            f"pytestmark = [pytest.mark.slow, pytest.mark.{call}]\n" + test,
        ):
            assert unnamed(source.format("pass")) == ["test_a"]
            assert unnamed(source.format('"""Fails when it should."""')) == []
    assert unnamed(test.format("pass")) == []
