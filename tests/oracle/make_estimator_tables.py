# SPDX-License-Identifier: Apache-2.0
"""Prints DeepSpeed's memory estimates for a few set-ups: tests/oracle/estimator_tables.txt.

Usage: python make_estimator_tables.py > estimator_tables.txt       (deepspeed 0.19.8)
Each block starts with a line `# total_params largest_layer_params num_gpus_per_node num_nodes factor`.
"""
import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # what deepspeed says while it is imported
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs_all_cold as zero2
    from deepspeed.runtime.zero.offload_config import OffloadDeviceEnum
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs_all_cold as zero3

# Python from 3.11 on formats such an enumeration by its name, before by its value, which the tables were made for.
OffloadDeviceEnum.__format__ = lambda self, spec: format(self.value, spec)

SETUPS = [
    (68714504192, 262144000, 1, 4, 1.5),
    (68714504192, 262144000, 1, 8, 1.5),
    (8030261248, 525336576, 8, 1, 1.5),
    (8030261248, 525336576, 8, 4, 1.5),
    (6738415616, 131072000, 3, 7, 1.5),
    (1543714304, 233373696, 1, 1, 1.0),
    (268800, 32768, 2, 3, 1.25),
    (999999, 1, 5, 2, 1.5),
    (405853388800, 2101346304, 8, 16, 1.5),
]
for params, largest, gpus, nodes, factor in SETUPS:
    print(f"# {params} {largest} {gpus} {nodes} {factor}")
    zero2(params, num_gpus_per_node=gpus, num_nodes=nodes, additional_buffer_factor=factor)
    zero3(params, largest, num_gpus_per_node=gpus, num_nodes=nodes, additional_buffer_factor=factor)
