#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tensorboard.events: records of TensorBoard's own RecordWriter (tensorboard 2.x) for fixed events."""
import io
import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def scalar(tag, value, step, wall_time):
    value = summary_pb2.Summary.Value(tag=tag, simple_value=value)
    return event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=[value]))


def text(tag, string, wall_time):
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
    tensor = tensor_pb2.TensorProto(dtype="DT_STRING", tensor_shape=shape, string_val=[string.encode()])
    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text"))
    value = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
    return event_pb2.Event(wall_time=wall_time, summary=summary_pb2.Summary(value=[value]))


class Keep(io.BytesIO):
    def close(self):
        pass


out = Keep()
writer = RecordWriter(out)
for event in (
    event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    scalar("train/loss", 2.5, 1, 1700000001.5),
    scalar("eval/accuracy", 0.0, 300, 1700000002.0),
    scalar("train/learning_rate", -1.25e-7, 1 << 40, 1700000003.0),
    text("args/text_summary", "x" * 200 + "\né", 1700000004.0),
):
    writer.write(event.SerializeToString(deterministic=True))
pathlib.Path(__file__).with_name("tensorboard.events").write_bytes(out.getvalue())
