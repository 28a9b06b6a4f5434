"""The table: what each name of `flytekit` and `union` is here, and what to write instead of those that are nothing.

To serve another name, put it beside the module of ours that defines it (`HOMES`), under its own name, or with its own
name in `RENAMED`. What no table names is looked for in the package `greenroom` itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

VERSIONS: Final[Mapping[str, str]] = {"flytekit": "1.16.31", "union": "0.1.204", "unionai": "0.1.204"}
"""What programs that ask for a version are told: those whose names are served."""

TOPS: Final = frozenset({"flytekit", "flytekitplugins", "union", "unionai"})
"""Packages that are served, also where the real ones are installed."""

HOMES: Final[Mapping[str, str]] = {
    "greenroom.compat.flyte": "task dynamic eager ActorEnvironment CachePolicy logger load_implicit_plugins",
    "greenroom.compat.contexts": "FlyteContext FlyteContextManager ExecutionState CompilationState timeit new_context",
    "greenroom.compat.interfaces": "Interface transform_function_to_interface transform_variable_map transform_type "
    "transform_interface_to_typed_interface transform_inputs_to_parameters transform_interface_to_list_interface "
    "transform_types_to_list_of_type default_output_name output_name_generator extract_return_annotation",
    "greenroom.compat.settings": "Image ImageConfig SerializationSettings FastSerializationSettings EntrypointSettings",
    "greenroom.compat.engine": "TypeEngine TypeTransformer AsyncTypeTransformer SimpleTransformer DataclassTransformer "
    "DictTransformer EnumTransformer ListTransformer UnionTransformer RestrictedTypeError RestrictedTypeTransformer",
    "greenroom.compat.idl.types": "BlobType LiteralType StructuredDatasetType",
    "greenroom.compat.idl.literals": "Blob BlobMetadata Literal Scalar",
    "greenroom.compat.idl.identity": "Labels Annotations AuthRole SecurityContext Identifier "
    "WorkflowExecutionIdentifier TaskExecutionIdentifier NodeExecutionIdentifier",
    "greenroom.compat.schemas": "FlyteSchema",
    "greenroom.compat.descriptions": "Description Documentation SourceCode Options Environment",
    "greenroom.compat.serialize": "get_serializable",
    "greenroom.metadata": "TaskMetadata WorkflowMetadata WorkflowMetadataDefaults",
    "greenroom.task": "ActorTask Task DynamicTask",
    "greenroom.workflow": "workflow WorkflowBase Workflow WorkflowFailurePolicy FailedNode",
    "greenroom.imperative": "ImperativeWorkflow",
    "greenroom.actor_cache": "actor_cache",
    "greenroom.types": "BatchSize HashMethod StructuredDataset kwtypes",
    "greenroom.testing": "task_mock patch",
    "greenroom.mapping": "map_task map MapTask",
    "greenroom.conditions": "conditional",
    "greenroom.launch_plan": "LaunchPlan",
    "greenroom.schedules": "CronSchedule FixedRate",
    "greenroom.notifications": "Email Slack PagerDuty Notification ConcurrencyPolicy ConcurrencyLimitBehavior "
    "WorkflowExecutionPhase",
    "greenroom.artifacts": "Artifact ArtifactQuery Inputs",
    "greenroom.deck": "Deck DeckField TopFrameRenderer MarkdownRenderer SourceCodeRenderer",
    "greenroom.remote": "Remote Config PlatformConfig RemoteExecution",
    "greenroom.reference": "reference_task reference_workflow reference_launch_plan",
    "greenroom.nodes": "create_node",
    "greenroom.gates": "approve sleep wait_for_input",
    "greenroom.promises": "Promise",
    "greenroom.resources": "Resources",
    "greenroom.secrets": "Secret",
    "greenroom.pods": "PodTemplate",
    "greenroom.images": "ImageSpec",
    "greenroom.options": "Cache VersionParameters",
    "greenroom.context": "current_context Secrets Context",
    "greenroom.files": "File",
    "greenroom.directories": "Directory",
    "greenroom.accelerators": "BaseAccelerator GPUAccelerator MultiInstanceGPUAccelerator A10G L4 L4_VWS L40S K80 M60 "
    "P4 P100 T4 V100 H100 H200 RTX_PRO_6000 A100 A100_80GB V5E V5P V6E",
    "greenroom.definition_errors": "DefinitionError MissingReturn",
    "greenroom.errors": "GreenroomError Recoverable EagerException NotApproved TypeMismatch ValueProblem NoSuchPart "
    "AnnotationProblem BadText",
    "greenroom.hub_errors": "HubError Refused StillRunning Unreachable",
}
"""Modules of ours, and the names that they define; each module is imported when one of its names is asked for."""

RENAMED: Final[Mapping[str, str]] = {
    "FlyteFile": "File",
    "FlyteDirectory": "Directory",
    "ExecutionParameters": "Context",
    "SecretsManager": "Secrets",
    "PythonFunctionTask": "Task",
    "PythonTask": "Task",
    "AsyncPythonFunctionTask": "Task",
    "PythonFunctionWorkflow": "Workflow",
    "MapPythonTask": "MapTask",
    "ArrayNodeMapTask": "MapTask",
    "array_node_map_task": "map_task",
    "FlyteError": "FailedNode",
    "FlyteRemote": "Remote",
    "FlyteWorkflowExecution": "RemoteExecution",
    "UnionRemote": "Remote",
    # Errors: what is raised here where Flyte raises that, so that `except` clauses go on catching.
    "FlyteException": "GreenroomError",
    "FlyteUserException": "GreenroomError",
    "FlyteUserRuntimeException": "GreenroomError",
    "FlyteRecoverableException": "Recoverable",
    "FlyteAssertion": "DefinitionError",
    "FlyteValidationException": "DefinitionError",
    "FlyteCompilationException": "DefinitionError",
    "FlyteMissingTypeException": "AnnotationProblem",
    "FlyteMissingReturnValueException": "MissingReturn",
    "FlyteTypeException": "TypeMismatch",
    "TypeTransformerFailedError": "TypeMismatch",
    "FlyteValueException": "ValueProblem",
    "FlytePromiseAttributeResolveException": "NoSuchPart",
    "FlyteInvalidInputException": "BadText",
    "FlyteDisapprovalException": "NotApproved",
    "FlyteTimeout": "StillRunning",
    "FlyteEntityNotExistException": "Refused",
    "FlyteEntityNotFoundException": "Refused",
    "FlyteEntityAlreadyExistsException": "Refused",
    "FlyteSystemException": "HubError",
    "FlyteSystemUnavailableException": "Unreachable",
}
"""Names of theirs, and ours for them."""

FORMATS: Final[Mapping[str, str]] = {
    "CSVFile": "csv", "HDF5EncodedFile": "hdf5", "HTMLPage": "html", "JPEGImageFile": "jpeg", "JSONLFile": "jsonl",
    "JoblibSerializedFile": "joblib", "ONNXFile": "onnx", "PDFFile": "pdf", "PNGImageFile": "png",
    "PythonNotebook": "ipynb", "PythonPickledFile": "python_pickle", "SVGImageFile": "svg", "TFRecordFile": "tfrecord",
}  # fmt: skip
"""Files of a format: `CSVFile` is `File["csv"]`."""

DIRECTORY_FORMATS: Final[Mapping[str, str]] = {"TensorboardLogs": "tensorboard", "TFRecordsDirectory": "tfrecord"}

EXACT: Final[Mapping[tuple[str, str], str]] = {
    ("flytekit", "Workflow"): "ImperativeWorkflow",
    ("union", "Workflow"): "ImperativeWorkflow",
    ("unionai", "Workflow"): "ImperativeWorkflow",
}
"""Names that mean something else in one module than elsewhere."""

MODULES: Final[Mapping[str, str]] = {
    "flytekit.models.types": "greenroom.compat.idl.types",
    "flytekit.models.core.types": "greenroom.compat.idl.types",
    "flytekit.models.annotation": "greenroom.compat.idl.types",
    "flytekit.models.literals": "greenroom.compat.idl.literals",
    "flytekit.models.interface": "greenroom.compat.idl.interface",
    "flytekit.models.core.identifier": "greenroom.compat.idl.identity",
    "flytekit.models.common": "greenroom.compat.idl.identity",
    "flytekit.models.core.workflow": "greenroom.compat.idl.graph",
    "flytekit.models.core.condition": "greenroom.compat.idl.graph",
    "flytekit.models.admin.workflow": "greenroom.compat.idl.graph",
    "flytekit.models.launch_plan": "greenroom.compat.idl.graph",
}
"""Modules of theirs whose every name is in one of ours, also where it means something else elsewhere."""

PASSED_ON: Final[Mapping[str, str]] = {
    "directory": "flytekit.types.directory",
    "file": "flytekit.types.file",
    "iterator": "flytekit.types.iterator",
    "context_manager": "flytekit.core.context_manager",
}
"""Modules that another module of theirs has as a name."""

OTHERS: Final = frozenset({("flytekit.core.utils", "Directory")})
"""Names that mean something else in these modules than elsewhere: not served."""

UNION: Final = (
    "ActorEnvironment ActorTask actor_cache map UnionRemote FlyteFile FlyteDirectory FlyteRecoverableException "
    "create_node eager ImperativeWorkflow Description"
)
"""Names of `union` besides those of `flytekit`'s top."""

UNION_MODULES: Final[Mapping[str, str]] = {
    "actor": "ActorEnvironment ActorTask actor_cache",
    "app": "App Input Link ScalingMetric ResolvableTaskState",
    "app.llm": "VLLMApp SGLangApp",
    "artifacts": "Artifact DataCard ModelCard OnArtifact",
    "remote": "UnionRemote",
    "configuration": "UnionAIPlugin",
    "workspace": "WorkspaceConfig",
}
"""Submodules of `union`, and their public names."""

_PLUGINS: Final = (
    "airflow athena awsbatch awsemrserverless awssagemaker awssagemaker_inference bacalhau bigquery chatgpt "
    "comet_ml dask dbt deck dgxc_lepton dolt duckdb envd flyin flyteinteractive fsspec geopandas "
    "great_expectations hive huggingface iap identity_aware_proxy inference k8sdataservice kfmpi kfpytorch "
    "kftensorflow memray mlflow mmcloud modin neptune noteinteractive omegaconf onnxpytorch onnxscikitlearn "
    "onnxtensorflow openai optuna pandera papermill perian_job pod polars pydantic ray sleep slurm snowflake "
    "spark sqlalchemy vaex vscode wandb whylogs xarray_zarr "
)
PLUGINS: Final = frozenset(_PLUGINS.split())
"""Plugins of flytekit."""

_PLAIN: Final = "write a plain @task that calls it itself"
_CLIENT: Final = "use greenroom.Client, or the greenroom command"

REMEDIES: Final[Mapping[str, str]] = {
    "ContainerTask": "give a @task that image with container_image= and start the program in it with subprocess",
    "ShellTask": "call the script in a @task with subprocess.run, and return what it writes as File",
    "SQLTask": "run the query in a @task with the database's own package",
    "SensorEngine": "wait in a @task with a timeout, or look on a schedule",
    "BaseSensor": "wait in a @task with a timeout, or look on a schedule",
    "FileSensor": "wait in a @task with a timeout, or look on a schedule",
    "App": "serve models from an @actor_cache loader that starts the server and returns its handle",
    "Pod": "give the task or its ActorEnvironment pod_template=PodTemplate(pod_spec=...)",
    "PythonInstanceTask": _PLAIN,
    "PickleFile": "annotate with the object's own class; what has no type of its own travels pickled",
    "FlytePickle": "annotate with the object's own class; what has no type of its own travels pickled",
    "vscode": "use greenroom debug ID/NODE/ITEM, which runs a recorded call here under pdb",
}
"""What to write instead, by name."""

_PREFIXES: Final = (
    ("flytekitplugins.", "use the library itself in a plain @task, with the resources that it needs"),
    ("flytekit.clis", _CLIENT),
    ("flytekit.clients", _CLIENT),
    ("flytekit.remote", _CLIENT),
    ("flytekit.configuration", "set GREENROOM_HUB or a profile (greenroom login, greenroom use)"),
    ("flytekit.models", "there is no Flyte IDL here; use what greenroom itself exports"),
    ("flytekit.tools", "greenroom run bundles and registers programs by itself"),
    ("flytekit.sensor", REMEDIES["BaseSensor"]),
    ("union.app", REMEDIES["App"]),
    (
        "flyte",
        "this looks like Flyte 2; write @greenroom.task and @greenroom.workflow, with ActorEnvironment for reuse",
    ),
)


def remedy_for(module: str, name: str) -> str:
    """What to write instead of `name` of `module`."""
    known = REMEDIES.get(name.partition(".")[0])
    if known is not None:
        return known
    for prefix, remedy in _PREFIXES[:-1]:
        if module.startswith(prefix):
            return remedy
    return _PREFIXES[-1][1] if module.partition(".")[0] == "flyte" else "write it with what greenroom itself exports"


def _homes() -> dict[str, str]:
    return {name: module for module, names in HOMES.items() for name in names.split()}


_HOME_OF: Final = _homes()


def home_of(name: str) -> tuple[str, str]:
    """Our module and name for a name of theirs; `greenroom` itself where no table says another."""
    ours = RENAMED.get(name, name)
    return _HOME_OF.get(ours, "greenroom"), ours


class Known:
    """Which names which modules have; read when the first one is asked for."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] | None = None

    def _read(self) -> dict[str, frozenset[str]]:
        if self._names is None:
            names: dict[str, frozenset[str]] = {}
            with open(os.path.join(os.path.dirname(__file__), "known.txt"), encoding="utf-8") as file:
                lines = file.read().splitlines()
            for line in lines:
                if not line.startswith("#"):
                    module, *rest = line.split()
                    names[module] = frozenset(rest)
            tops = names["flytekit"] | {"logger", "map", "eager", "FlyteFile", "FlyteDirectory"}
            names["flytekit"] = tops
            for union in ("union", "unionai"):
                names[union] = tops | frozenset(UNION.split())
                for module, public in UNION_MODULES.items():
                    names[f"{union}.{module}"] = frozenset(public.split())
            names["flytekitplugins"] = frozenset()
            self._names = names
        return self._names

    def is_module(self, module: str) -> bool:
        """Whether it is a module of theirs."""
        top, _, rest = module.partition(".")
        if top == "flytekitplugins":
            return not rest or rest.partition(".")[0] in PLUGINS
        return not rest or module in self._read()

    def names(self, module: str) -> frozenset[str]:
        """Public names of a module of theirs."""
        return self._read().get(module, frozenset())

    def has(self, module: str, name: str) -> bool:
        """Whether a module of theirs has a name; of plugins any, since their names are not listed."""
        if name.startswith("_"):
            return False
        return module.startswith(("flytekitplugins.", "flyte.")) or module == "flyte" or name in self.names(module)

    def is_theirs(self, name: str) -> bool:
        """Whether any module of theirs has a name."""
        return not name.startswith("_") and any(name in names for names in self._read().values())

    def modules(self) -> list[str]:
        """Every module of theirs, but for plugins."""
        return sorted(self._read())


KNOWN: Final = Known()
