// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's ModelArguments that are accepted and have no effect here.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kNoHub = "nothing is downloaded or uploaded";
constexpr std::string_view kTextOnly = "text only";
constexpr std::string_view kQuantisation = "only read with quantization_bit, which is refused";
constexpr std::string_view kWorker = "only read by inference workers";
constexpr std::string_view kKernels = "dstrain uses its own kernels; the loss is the same";
}  // namespace

std::vector<KeySpec> model_unused() {
  using enum ValueType;
  return {
      noted("cache_dir", text, "null", "Download cache", kNoHub),
      noted("model_revision", text, "main", "Hub revision", kNoHub),
      noted("hf_hub_token", any, "null", "Hub password, never printed", kNoHub),
      noted("ms_hub_token", text, "null", "Hub password, never printed", kNoHub),
      noted("om_hub_token", text, "null", "Hub password, never printed", kNoHub),
      noted("trust_remote_code", boolean, "false", "Run the model's own Python",
            "known model types run natively, others are refused"),
      noted("low_cpu_mem_usage", boolean, "true", "Load piece by piece", "weights are always streamed to their owners"),
      noted("flash_attn", text, "auto", "Attention kernel", kKernels),
      noted("use_unsloth", boolean, "false", "Other kernels", kKernels),
      noted("use_unsloth_gc", boolean, "false", "Other activation checkpointing", kKernels),
      noted("enable_liger_kernel", boolean, "false", "Other kernels", kKernels),
      noted("use_reentrant_gc", boolean, "true", "Kind of activation checkpointing in torch", kKernels),
      noted("offload_folder", text, "offload", "Where weights are offloaded", "nothing is offloaded to files"),
      noted("use_cache", boolean, "true", "Key-value cache", "training runs without one"),
      noted("quantization_type", text, "nf4", "Quantised loading", kQuantisation),
      noted("double_quantization", boolean, "true", "Quantised loading", kQuantisation),
      noted("quantization_device_map", text, "null", "Quantised loading", kQuantisation),
      noted("image_max_pixels", integer, "589824", "Images", kTextOnly),
      noted("image_min_pixels", integer, "1024", "Images", kTextOnly),
      noted("image_do_pan_and_scan", boolean, "false", "Images", kTextOnly),
      noted("crop_to_patches", boolean, "false", "Images", kTextOnly),
      noted("video_max_pixels", integer, "65536", "Videos", kTextOnly),
      noted("video_min_pixels", integer, "256", "Videos", kTextOnly),
      noted("video_fps", number, "2.0", "Videos", kTextOnly),
      noted("video_maxlen", integer, "128", "Videos", kTextOnly),
      noted("use_audio_in_video", boolean, "false", "Videos", kTextOnly),
      noted("audio_sampling_rate", integer, "16000", "Audio", kTextOnly),
      noted("export_device", text, "cpu", "Device of llamafactory-cli export", "`dstrain export` needs none"),
      noted("export_quantization_nsamples", integer, "128", "Quantised export",
            "only read with export_quantization_bit, which is refused"),
      noted("export_quantization_maxlen", integer, "1024", "Quantised export",
            "only read with export_quantization_bit, which is refused"),
      noted("vllm_maxlen", integer, "4096", "vLLM", kWorker),
      noted("vllm_gpu_util", number, "0.7", "vLLM", kWorker),
      noted("vllm_enforce_eager", boolean, "false", "vLLM", kWorker),
      noted("vllm_max_lora_rank", integer, "32", "vLLM", kWorker),
      noted("vllm_config", any, "null", "vLLM", kWorker),
      noted("sglang_maxlen", integer, "4096", "SGLang", kWorker),
      noted("sglang_mem_fraction", number, "0.7", "SGLang", kWorker),
      noted("sglang_tp_size", integer, "-1", "SGLang", kWorker),
      noted("sglang_config", any, "null", "SGLang", kWorker),
      noted("sglang_lora_backend", text, "triton", "SGLang", kWorker),
  };
}

}  // namespace dstrain::keys
