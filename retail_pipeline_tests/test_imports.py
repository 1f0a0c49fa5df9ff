"""Imports point down: no circle, in the whole and inside each package.

The layers themselves are contracts in `pyproject.toml`, which `make lint` checks.
"""

import grimp
import networkx


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("retail_pipeline", exclude_type_checking_imports=True, cache_dir=None)
    imports = networkx.DiGraph(
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    )
    circles = [sorted(group) for group in networkx.strongly_connected_components(imports)]
    assert [group for group in circles if len(group) > 1] == []
