"""The `MLmodel` of a version: signature, input example and which module of Timbre loads its bundle."""

import json
from pathlib import Path

DATA = "bundle"
"""Folder of the bundle beside the `MLmodel`."""
EXAMPLE = {"prompt": ["It was late in the evening, and"]}


def write_mlmodel(folder: Path) -> None:
    """MLmodel, requirements and an input example into `folder`; the bundle itself is put beside them as `bundle/`.

    No model is loaded, and no package is looked at: what serving a bundle needs is Timbre of this version.
    """
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from timbre import __version__
    from timbre.serving.pyfunc import PARAMETERS

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string)]),
        outputs=Schema([ColSpec(DataType.string)]),
        params=ParamSchema([ParamSpec(name, kind, default) for name, (kind, default) in PARAMETERS.items()]),
    )
    (folder / "input_example.json").write_text(
        json.dumps({"columns": list(EXAMPLE), "data": [list(row) for row in zip(*EXAMPLE.values(), strict=True)]})
    )
    (folder / "requirements.txt").write_text(f"timbre=={__version__}\n")
    (folder / "python_env.yaml").write_text("build_dependencies: []\ndependencies:\n- -r requirements.txt\n")
    model = Model(
        signature=signature,
        saved_input_example_info={"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"},
    )
    mlflow.pyfunc.add_to_model(
        model, loader_module="timbre.serving.pyfunc", data=DATA, env={"virtualenv": "python_env.yaml"}, model_code_path=None
    )  # fmt: skip
    model.save(str(folder / "MLmodel"))
