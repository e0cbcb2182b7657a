// SPDX-License-Identifier: Apache-2.0
#include "io/torch/pickle_objects.hpp"

#include <array>
#include <set>

#include "core/error.hpp"

namespace dstrain::pickle {
namespace {

constexpr std::size_t most_dims = 16;

struct StorageType {
  const char* name;
  DType dtype;
};
constexpr std::array<StorageType, 10> storage_types = {{{"torch FloatStorage", DType::f32},
                                                        {"torch HalfStorage", DType::f16},
                                                        {"torch BFloat16Storage", DType::bf16},
                                                        {"torch DoubleStorage", DType::f64},
                                                        {"torch LongStorage", DType::i64},
                                                        {"torch IntStorage", DType::i32},
                                                        {"torch ShortStorage", DType::i16},
                                                        {"torch CharStorage", DType::i8},
                                                        {"torch ByteStorage", DType::u8},
                                                        {"torch BoolStorage", DType::boolean}}};

constexpr std::string_view ordered_dict = "collections OrderedDict";
constexpr std::string_view rebuild_tensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view rebuild_parameter = "torch._utils _rebuild_parameter";

std::vector<std::int64_t> extents(Stack& stack, Ref tuple, const std::string& name) {
  std::vector<std::int64_t> values;
  for (const Ref part : stack.at(tuple).parts) {
    if (stack.at(part).kind != Kind::integer || stack.at(part).integer < 0)
      stack.refuse(fmt::format("tensor \"{}\" has an extent or stride that is no size", name));
    values.push_back(stack.at(part).integer);
  }
  if (values.size() > most_dims) stack.refuse(fmt::format("tensor \"{}\" has {} dims", name, values.size()));
  return values;
}

PickledTensor tensor_of(Stack& stack, const std::string& name, const Value& value) {
  const Value& storage = stack.at(value.parts[0]);
  PickledTensor tensor;
  tensor.name = name;
  tensor.storage = storage.text;
  tensor.dtype = static_cast<DType>(storage.integer);
  tensor.storage_count = stack.at(storage.parts[0]).integer;
  tensor.offset = stack.at(value.parts[1]).integer;
  tensor.shape = extents(stack, value.parts[2], name);
  tensor.strides = extents(stack, value.parts[3], name);
  return tensor;
}

}  // namespace

void push_global(Stack& stack, const std::string& name) {
  for (const StorageType& type : storage_types) {
    if (name == type.name) return stack.push_integer(static_cast<std::int64_t>(type.dtype), Kind::storage_type);
  }
  if (name != ordered_dict && name != rebuild_tensor && name != rebuild_parameter) {
    stack.refuse(fmt::format("its pickle asks for \"{}\", which no state dict needs", name),
                 "it may be malicious, or hold more than weights; save the state dict alone, or as safetensors");
  }
  stack.push(Kind::callable).text = name;
}

void push_storage(Stack& stack) {
  const Ref id = stack.pop();
  const std::vector<Ref> parts = stack.at(id).parts;
  const bool good = stack.at(id).kind == Kind::tuple && parts.size() == 5 && stack.at(parts[0]).kind == Kind::text &&
                    stack.at(parts[0]).text == "storage" && stack.at(parts[1]).kind == Kind::storage_type &&
                    stack.at(parts[2]).kind == Kind::text && stack.at(parts[4]).kind == Kind::integer;
  if (!good) stack.refuse("its pickle refers to something that is no storage");
  const std::string key = stack.at(parts[2]).text;
  const std::int64_t dtype = stack.at(parts[1]).integer;
  Value& storage = stack.push(Kind::storage);
  storage.integer = dtype;
  storage.text = key;
  storage.parts = {parts[4]};
}

void call(Stack& stack) {
  const Ref arguments = stack.pop();
  const Ref callable = stack.pop();
  if (stack.at(callable).kind != Kind::callable || stack.at(arguments).kind != Kind::tuple)
    stack.refuse("its pickle calls something that is no function");
  const std::string name = stack.at(callable).text;
  const std::vector<Ref> parts = stack.at(arguments).parts;
  if (name == ordered_dict && parts.empty()) {
    stack.push(Kind::dict);
    return;
  }
  if (name == rebuild_parameter && !parts.empty() && stack.at(parts[0]).kind == Kind::tensor)
    return stack.push(parts[0]);
  const bool tensor = name == rebuild_tensor && parts.size() >= 4 && stack.at(parts[0]).kind == Kind::storage &&
                      stack.at(parts[1]).kind == Kind::integer && stack.at(parts[2]).kind == Kind::tuple &&
                      stack.at(parts[3]).kind == Kind::tuple;
  if (!tensor) stack.refuse(fmt::format("its pickle calls \"{}\" with other arguments than torch does", name));
  stack.push(Kind::tensor).parts = {parts[0], parts[1], parts[2], parts[3]};
}

std::vector<PickledTensor> tensors_of(Stack& stack) {
  const Value& root = stack.top();
  if (root.kind != Kind::dict) stack.refuse("holds no dictionary of tensors");
  std::vector<PickledTensor> tensors;
  std::set<std::string> names;
  for (std::size_t i = 0; i + 1 < root.parts.size(); i += 2) {
    const Value& key = stack.at(root.parts[i]);
    const Value& value = stack.at(root.parts[i + 1]);
    if (key.kind != Kind::text) stack.refuse("its dictionary has a key that is no name");
    if (value.kind != Kind::tensor) {
      stack.refuse(fmt::format("its entry \"{}\" is no tensor", key.text),
                   "a state dict is needed: model.state_dict(), not a whole checkpoint");
    }
    if (!names.insert(key.text).second) stack.refuse(fmt::format("its entry \"{}\" stands twice", key.text));
    tensors.push_back(tensor_of(stack, key.text, value));
  }
  return tensors;
}

}  // namespace dstrain::pickle
