"""What a child's interpreter runs: ``python -P start.py [--describe FOLDER]``.

The environment of a binding holds what the binding needs, and pydantic and PyYAML; Greenroom itself is taken from
where the parent has it, so that both sides are always of one version, and nothing else of the parent's comes along.
"""

import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


def borrow(folder: Path) -> None:
    """Make ``greenroom`` the package in ``folder``, whatever else is installed."""
    spec = importlib.util.spec_from_file_location(
        "greenroom", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"there is no package in {folder}")
    package = importlib.util.module_from_spec(spec)
    sys.modules["greenroom"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    borrow(PACKAGE)
    if sys.argv[1:2] == ["--describe"]:
        from greenroom.bindings.isolation.description import print_description

        sys.exit(print_description(Path(sys.argv[2])))
    from greenroom.bindings.isolation.serving import main

    sys.exit(main())
