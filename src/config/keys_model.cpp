// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's ModelArguments: what is read of them, and what has to wait.
#include "config/key_schema.hpp"

namespace dstrain::keys {

std::vector<KeySpec> model() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("model_name_or_path", &C::model_name_or_path, "Hugging Face model folder, a config.json, or preset:<name>")
          .path(),
      runs("train_from_scratch", &C::train_from_scratch,
           "Random weights from config.json (std initializer_range) instead of the folder's"),
      runs("use_fast_tokenizer", &C::use_fast_tokenizer, "Behave as tokenizer.json does; false: as sentencepiece does"),
      runs("split_special_tokens", &C::split_special_tokens,
           "Do not look for special tokens inside texts; needs use_fast_tokenizer: false"),
      runs("disable_gradient_checkpointing", &C::disable_gradient_checkpointing,
           "Activation checkpointing is on by default; this turns it off"),
      runs("rope_scaling", &C::rope_scaling, "Stretch rotary positions beyond the model's length")
          .choices("linear|dynamic|yarn|llama3"),
      runs("adapter_name_or_path", &C::adapter_name_or_path,
           "PEFT adapter folders: all but the last are merged, the last is trained on")
          .path(),
      runs("adapter_folder", &C::adapter_folder, "Folder inside each of adapter_name_or_path"),
      runs("resize_vocab", &C::resize_vocab,
           "Grow embedding and head to the tokenizer's size, rounded up to 64 rows; new rows are the mean of the old "
           "ones and noise. With LoRA and no additional_target both are trained whole"),
      runs("add_tokens", &C::add_tokens, "Tokens that the tokenizer gets; implies resize_vocab"),
      runs("add_special_tokens", &C::add_special_tokens,
           "Special tokens that the tokenizer gets; implies resize_vocab"),
      noted("upcast_layernorm", boolean, "false", "Keep norm weights in fp32",
            "norms compute in fp32, and trained ones have fp32 masters"),
      noted("upcast_lmhead_output", boolean, "false", "Logits in fp32", "logits and loss are fp32 in any case"),
      runs("print_param_status", &C::print_param_status,
           "Log name, dtype, device and trainable of each parameter at the start"),
      refused("shift_attn", boolean, "false", "Shifted sparse attention of LongLoRA", "train with full attention"),
      refused("mixture_of_depths", text, "null", "Mixture of depths",
              "leave it out; such models cannot be trained here"),
      refused("moe_aux_loss_coef", number, "null", "Auxiliary loss of mixtures of experts",
              "leave it out; such models cannot be trained here"),
      refused("infer_backend", text, "huggingface", "Inference engine",
              "training has none, and generation here is dstrain's own"),
      refused("quantization_method", text, "bnb", "Quantised loading", "train with bf16").off("bitsandbytes"),
      refused("quantization_bit", integer, "null", "Quantised loading", "train with bf16"),
      runs("export_dir", &C::export_dir, "export: the folder that is written"),
      runs("export_size", &C::export_size, "export: largest weight file in GB"),
      runs("infer_dtype", &C::infer_dtype, "export: type of the weights; auto: as the model says")
          .choices("auto|float16|bfloat16|float32"),
      refused("export_quantization_bit", integer, "null", "Quantised export", "export and quantise elsewhere"),
      refused("export_quantization_dataset", text, "null", "Quantised export", "export and quantise elsewhere"),
      refused("export_legacy_format", boolean, "false", "Write .bin files", "models are written as safetensors"),
      refused("export_hub_model_id", text, "null", "Upload after export",
              "nothing is sent to a hub; upload the folder yourself"),
  };
}

}  // namespace dstrain::keys
