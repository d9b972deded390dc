"""The schema of config.pbtxt: Triton's ModelConfig, field numbers included.

Kept as one readable table and turned into protobuf message classes when the first config.pbtxt is
read, so that a server without one never imports protobuf (40 ms) and no generated code has to
match the installed runtime. Only what protobuf has offered since 4.22 is used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

# message Name: type field number, ...   `*` repeats, `A>B` is a map, `|group` puts it in a oneof,
# a dot nests.
MESSAGES = """
ModelConfig: string name 1, string platform 2, ModelVersionPolicy version_policy 3,
  int32 max_batch_size 4, ModelInput* input 5, ModelOutput* output 6,
  ModelInstanceGroup* instance_group 7, string default_model_filename 8,
  string>string cc_model_filenames 9, string>string metric_tags 10,
  ModelDynamicBatching dynamic_batching 11 |scheduling_choice,
  ModelOptimizationPolicy optimization 12,
  ModelSequenceBatching sequence_batching 13 |scheduling_choice,
  string>ModelParameter parameters 14, ModelEnsembling ensemble_scheduling 15 |scheduling_choice,
  ModelWarmup* model_warmup 16, string backend 17, ModelOperations model_operations 18,
  ModelTransactionPolicy model_transaction_policy 19, BatchInput* batch_input 20,
  BatchOutput* batch_output 21, ModelRepositoryAgents model_repository_agents 23,
  ModelResponseCache response_cache 24, string runtime 25, ModelMetrics model_metrics 26
ModelTensorReshape: int64* shape 1
ModelInput: string name 1, DataType data_type 2, Format format 3, int64* dims 4,
  ModelTensorReshape reshape 5, bool is_shape_tensor 6, bool allow_ragged_batch 7, bool optional 8,
  bool is_non_linear_format_io 9
ModelOutput: string name 1, DataType data_type 2, int64* dims 3, string label_filename 4,
  ModelTensorReshape reshape 5, bool is_shape_tensor 6, bool is_non_linear_format_io 7
ModelInstanceGroup: string name 1, int32 count 2, int32* gpus 3, InstanceKind kind 4,
  string* profile 5, ModelRateLimiter rate_limiter 6, bool passive 7,
  SecondaryDevice* secondary_devices 8, string host_policy 9
SecondaryDevice: SecondaryDeviceKind kind 1, int64 device_id 2
ModelRateLimiter: RateLimiterResource* resources 1, uint32 priority 2
RateLimiterResource: string name 1, bool global 2, uint32 count 3
ModelVersionPolicy: VersionLatest latest 1 |policy_choice, VersionAll all 2 |policy_choice,
  VersionSpecific specific 3 |policy_choice
VersionLatest: uint32 num_versions 1
VersionAll:
VersionSpecific: int64* versions 1
ModelDynamicBatching: int32* preferred_batch_size 1, uint64 max_queue_delay_microseconds 2,
  bool preserve_ordering 3, uint64 priority_levels 4, uint64 default_priority_level 5,
  ModelQueuePolicy default_queue_policy 6, uint64>ModelQueuePolicy priority_queue_policy 7
ModelQueuePolicy: TimeoutAction timeout_action 1, uint64 default_timeout_microseconds 2,
  bool allow_timeout_override 3, uint32 max_queue_size 4
ModelSequenceBatching: uint64 max_sequence_idle_microseconds 1, ControlInput* control_input 2,
  StrategyDirect direct 3 |strategy_choice, StrategyOldest oldest 4 |strategy_choice,
  State* state 5, bool iterative_sequence 6
StrategyDirect: uint64 max_queue_delay_microseconds 1, float minimum_slot_utilization 2
StrategyOldest: int32 max_candidate_sequences 1, int32* preferred_batch_size 2,
  uint64 max_queue_delay_microseconds 3, bool preserve_ordering 4
ControlInput: string name 1, Control* control 2
Control: ControlKind kind 1, int32* int32_false_true 2, float* fp32_false_true 3,
  DataType data_type 4, bool* bool_false_true 5
State: string input_name 1, string output_name 2, DataType data_type 3, int64* dims 4,
  InitialState* initial_state 5, bool use_same_buffer_for_input_output 6,
  bool use_growable_memory 7
InitialState: DataType data_type 1, int64* dims 2, bool zero_data 3 |state_data,
  string data_file 4 |state_data, string name 5
ModelEnsembling: EnsembleStep* step 1, uint32 max_inflight_requests 2
EnsembleStep: string model_name 1, int64 model_version 2, string>string input_map 3,
  string>string output_map 4, string model_namespace 5
ModelParameter: string string_value 1
BatchInput: BatchInputKind kind 1, string* target_name 2, DataType data_type 3,
  string* source_input 4
BatchOutput: string* target_name 1, BatchOutputKind kind 2, string* source_input 3
ModelOptimizationPolicy: OptimizationGraph graph 1, ModelPriority priority 2,
  OptimizationCuda cuda 3, ExecutionAccelerators execution_accelerators 4,
  PinnedMemoryBuffer input_pinned_memory 5, PinnedMemoryBuffer output_pinned_memory 6,
  uint32 gather_kernel_buffer_threshold 7, bool eager_batching 8
OptimizationGraph: int32 level 1
OptimizationCuda: bool graphs 1, bool busy_wait_events 2, CudaGraphSpec* graph_spec 3,
  bool output_copy_stream 4
CudaGraphSpec: int32 batch_size 1, string>CudaGraphShape input 2,
  CudaGraphLowerBound graph_lower_bound 3
CudaGraphLowerBound: int32 batch_size 1, string>CudaGraphShape input 2
CudaGraphShape: int64* dim 1
ExecutionAccelerators: Accelerator* gpu_execution_accelerator 1,
  Accelerator* cpu_execution_accelerator 2
Accelerator: string name 1, string>string parameters 2
PinnedMemoryBuffer: bool enable 1
ModelWarmup: string name 1, uint32 batch_size 2, string>WarmupInput inputs 3, uint32 count 4
WarmupInput: DataType data_type 1, int64* dims 2, bool zero_data 3 |input_data_type,
  bool random_data 4 |input_data_type, string input_data_file 5 |input_data_type
ModelOperations: string* op_library_filename 1
ModelTransactionPolicy: bool decoupled 1
ModelRepositoryAgents: RepositoryAgent* agents 1
RepositoryAgent: string name 1, string>string parameters 2
ModelResponseCache: bool enable 1
ModelMetrics: MetricControl* metric_control 1
MetricControl: MetricIdentifier metric_identifier 1,
  MetricHistogram histogram_options 2 |metric_options
MetricIdentifier: string family 1
MetricHistogram: double* buckets 1
"""

ENUMS = """
DataType: TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8
  TYPE_INT16 TYPE_INT32 TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16
Format: FORMAT_NONE FORMAT_NHWC FORMAT_NCHW
InstanceKind: KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL
SecondaryDeviceKind: KIND_NVDLA
TimeoutAction: REJECT DELAY
ControlKind: CONTROL_SEQUENCE_START CONTROL_SEQUENCE_READY CONTROL_SEQUENCE_END
  CONTROL_SEQUENCE_CORRID
BatchInputKind: BATCH_ELEMENT_COUNT BATCH_ACCUMULATED_ELEMENT_COUNT
  BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO BATCH_MAX_ELEMENT_COUNT_AS_SHAPE BATCH_ITEM_SHAPE
  BATCH_ITEM_SHAPE_FLATTEN
BatchOutputKind: BATCH_SCATTER_WITH_INPUT_SHAPE
ModelPriority: PRIORITY_DEFAULT PRIORITY_MAX PRIORITY_MIN
"""

_PACKAGE = "inference"
_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
_MESSAGE, _ENUM = 11, 14
_OPTIONAL, _REPEATED = 1, 3


def _entries(table: str) -> dict[str, str]:
    """Joins continued lines: name -> what stands after the colon."""
    entries: dict[str, str] = {}
    name = ""
    for line in table.strip().splitlines():
        if line.startswith(" "):
            entries[name] += " " + line.strip()
        else:
            name, _, rest = line.partition(":")
            entries[name] = rest.strip()
    return entries


class _FileBuilder:
    """A .proto file, as protobuf describes one, out of tables."""

    def __init__(self, file: Any, enums: set[str]) -> None:
        self._file = file
        self._enums = enums

    def _place(self, name: str) -> tuple[Any, str]:
        """What a name with dots is nested in, and the rest of the name."""
        outer, _, inner = name.rpartition(".")
        if not outer:
            return self._file, name
        return next(m for m in self._file.message_type if m.name == outer), inner

    def add_enum(self, name: str, values: str) -> None:
        enum = self._place(name)[0].enum_type.add(name=name.rpartition(".")[2])
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)

    def add_message(self, name: str, fields: str) -> None:
        place, inner = self._place(name)
        add = place.message_type if place is self._file else place.nested_type
        message = add.add(name=inner)
        groups: list[str] = []
        for text in filter(None, (part.strip() for part in fields.split(","))):
            spec, _, group = text.partition("|")
            type_name, field_name, number = spec.split()
            field = message.field.add(name=field_name, number=int(number), label=_OPTIONAL)
            if ">" in type_name:
                self._add_map_entry(message, name, field, *type_name.split(">"))
                continue
            if type_name.endswith("*"):
                field.label = _REPEATED
            self._set_type(field, type_name.rstrip("*"))
            if group:
                if group not in groups:
                    groups.append(group)
                    message.oneof_decl.add(name=group)
                field.oneof_index = groups.index(group)

    def _set_type(self, field: Any, type_name: str) -> None:
        if type_name in _SCALARS:
            field.type = _SCALARS[type_name]
            return
        field.type = _ENUM if type_name in self._enums else _MESSAGE
        field.type_name = f".{self._file.package}.{type_name}"

    def _add_map_entry(self, message: Any, name: str, field: Any, key: str, value: str) -> None:
        """A map is, in a descriptor, a repeated nested message with the fields key and value."""
        entry = message.nested_type.add()
        entry.name = "".join(part.capitalize() for part in field.name.split("_")) + "Entry"
        entry.options.map_entry = True
        for number, (part_name, type_name) in enumerate((("key", key), ("value", value)), start=1):
            part = entry.field.add(name=part_name, number=number, label=_OPTIONAL)
            self._set_type(part, type_name)
        field.label = _REPEATED
        field.type = _MESSAGE
        field.type_name = f".{self._file.package}.{name}.{entry.name}"


def describe_file(
    name: str, package: str, messages: str, enums: str = "", imports: Sequence[str] = ()
) -> Any:
    """The FileDescriptorProto of tables like those above. Imports protobuf."""
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto(
        name=name, package=package, syntax="proto3", dependency=imports
    )
    values = _entries(enums)
    builder = _FileBuilder(file, set(values))
    for message, fields in _entries(messages).items():
        builder.add_message(message, fields)
    for enum, spelled in values.items():
        builder.add_enum(enum, spelled)
    return file


def describe_model_config() -> Any:
    """The file that ModelConfig is in. Imports protobuf."""
    return describe_file("fastserve/model_config.proto", _PACKAGE, MESSAGES, ENUMS)


@functools.cache
def model_config_class() -> Any:
    """The message class of ModelConfig. Imports protobuf."""
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(describe_model_config().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelConfig"))


def wire_datatype(item: Any) -> str:
    """The `data_type` of a message as requests spell it, "FP32"; "" when nothing is said."""
    values = item.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    wire: str = values[item.data_type].name.removeprefix("TYPE_")
    return {"INVALID": "", "STRING": "BYTES"}.get(wire, wire)


def to_plain(message: Any) -> dict[str, Any]:
    """The fields that are set, as JSON has them: enums by name, and integers as numbers.

    protobuf's own JSON writes 64-bit integers as strings; Triton's answers do not.
    """
    return {field.name: _plain_field(field, value) for field, value in message.ListFields()}


def _plain_field(field: Any, value: Any) -> Any:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        entry = inner.fields_by_name["value"]
        return {str(key): _plain_field(entry, value[key]) for key in value}
    if hasattr(value, "ListFields") or isinstance(value, (str, int, float)):
        return _plain_value(field, value)
    return [_plain_value(field, item) for item in value]


def _plain_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return to_plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number.
    return value
