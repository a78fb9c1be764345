"""Check the plan of the repository: sizes of files and folders, import cycles, and forbidden imports.

    python -m studies.house

Prints each violation and exits with 1 if there is one. `tests/test_architecture.py` says which room may import which. A
longer file says why in its first lines: "over 400 lines because ...".
"""

import sys
from collections import Counter
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

from steadystyle.tests.test_architecture import ROOT, imported_modules, package_files, room_of, violations

MOST_LINES_OF_A_FILE, MOST_FILES_OF_A_FOLDER = 400, 12
MOST_LINES_IN_ALL = 22_400
"""17,500 when the house was rebuilt; hostile input, the fuzzer, archives, looks, HDR and codecs came after it."""
_FIRST_LINES = 20


def imports(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of these files (path from the root -> source) each imports."""
    found: dict[str, set[str]] = {}
    for path, source in files.items():
        found[path] = set()
        for _, name, _ in imported_modules(path, source):
            parts = name.split(".")[1:] if name.startswith("steadystyle.") else []
            # The longest prefix that is a file; the rest of the name is defined in it.
            for length in range(len(parts), 0, -1):
                module = "/".join(parts[:length])
                target = next((file for file in (f"{module}.py", f"{module}/__init__.py") if file in files), None)
                if target is not None:
                    found[path] |= {target} - {path}
                    break
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Names of an import cycle; empty without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def broken(files: Mapping[str, str], tests: Mapping[str, str]) -> list[str]:
    """Violations in these files (path from the root -> source), a sentence each."""
    found = list(violations(files))
    for path, source in {**files, **tests}.items():
        lines = source.splitlines()
        excused = f"over {MOST_LINES_OF_A_FILE} lines because" in "\n".join(lines[:_FIRST_LINES]).lower()
        if len(lines) > MOST_LINES_OF_A_FILE and not excused:
            found.append(f"{path} has {len(lines)} lines, more than {MOST_LINES_OF_A_FILE}, and does not say why")
    for folder, count in Counter(str(PurePosixPath(path).parent) for path in files).items():
        if count > MOST_FILES_OF_A_FOLDER:
            found.append(f"{folder}/ holds {count} Python files, more than {MOST_FILES_OF_A_FOLDER}")
    of_files = imports(files)
    of_rooms: dict[str, set[str]] = {}
    for path, targets in of_files.items():
        of_rooms.setdefault(room_of(path), set()).update({room_of(target) for target in targets} - {room_of(path)})
    for what, graph in (("rooms", of_rooms), ("files", of_files)):
        if way := circle(graph):
            found.append(f"{what} import each other in a circle: {' - '.join(way)}")
    total = sum(len(source.splitlines()) for source in files.values())
    if total > MOST_LINES_IN_ALL:
        found.append(f"{total} lines of Python beside the tests, more than {MOST_LINES_IN_ALL}")
    return found


def main() -> None:
    """Print sizes, then violations; exit code 1 if there are any."""
    files = package_files()
    tests = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")}
    for room in sorted({room_of(path) for path in files}):
        lines = [len(source.splitlines()) for path, source in files.items() if room_of(path) == room]
        print(f"{room}: {len(lines)} files, {sum(lines)} lines, the longest {max(lines)}")
    print(f"all but tests: {sum(len(source.splitlines()) for source in files.values())} lines")
    found = broken(files, tests)
    print("\n".join(found or ["everything is in order"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
