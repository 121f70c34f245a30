"""`python -m monitoring`: writes dashboards and alerts of the chart; with `--check` says which are not as the code has them."""

import argparse
import sys

from monitoring.files import FOLDER, files


def main() -> int:
    """0, or 1 if a check found a file that differs."""
    parser = argparse.ArgumentParser(prog="monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    check = parser.parse_args().check
    wanted = files()
    stale = [name for name, text in wanted.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text]
    gone = [path for path in (FOLDER / "dashboards").glob("*.json") if path.relative_to(FOLDER) not in wanted]
    if check:
        for path in (*stale, *gone):
            print(f"{path} is not as monitoring/ has it: make dashboards")
        return 1 if stale or gone else 0
    for name in stale:
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(wanted[name])
    for path in gone:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
