"""The committed staging models are what the catalogue says."""

import importlib.util
from pathlib import Path

DBT = Path(__file__).parents[2] / "dbt"


def test_staging_is_what_the_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("generate_staging", DBT / "generate_staging.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = dict(module.files())
    folder = DBT / "models" / "staging"
    assert {path.name: path.read_text() for path in folder.iterdir()} == wanted
    assert len(wanted) == 64
