// SPDX-License-Identifier: Apache-2.0
// Reading a safetensors header. A SAX handler: nothing but the tensor list is ever held, and a key given twice is seen.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "io/safetensors/header.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {
namespace {

constexpr std::size_t max_dims = 16;

std::optional<DType> dtype_named(std::string_view name) {
  for (const auto dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16,
                           DType::i8, DType::u8, DType::boolean}) {
    if (safetensors_dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

/// Walks root object -> tensor objects -> dtype, shape, data_offsets. Any other form is refused where it is met.
class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(const std::string& where) : where_(where) {}

  SafetensorsHeader header;

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a truth value"); }
  bool number_integer(number_integer_t) override { refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { refuse("a fraction or a number beyond 64 bits"); }
  bool binary(binary_t&) override { refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) refuse("a number");
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
      refuse("a number beyond 2^63");
    auto& list = place_ == Place::shape ? shape_ : offsets_;
    if (list.size() == (place_ == Place::shape ? max_dims : 2)) refuse("too many numbers");
    list.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!header.metadata.emplace(key_, value).second) refuse("a key that was there before");
    } else if (place_ == Place::tensor && key_ == "dtype") {
      dtype_ = dtype_named(value);
      if (!dtype_) refuse(fmt::format("dtype \"{}\", which is not supported", value));
    } else {
      refuse("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::root;
    } else if (place_ == Place::root && key_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::root) {
      place_ = Place::tensor;
      name_ = key_;
      seen_.clear();
      dtype_.reset();
      shape_.clear();
      offsets_.clear();
    } else {
      refuse("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::root && !names_.insert(value).second) {
      key_ = value;
      refuse("a name that was there before");
    }
    key_ = value;
    if (place_ == Place::tensor) {
      if (value != "dtype" && value != "shape" && value != "data_offsets") refuse("an unknown key");
      if (!seen_.insert(value).second) refuse("a key that was there before");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || key_ == "dtype") refuse("a list");
    place_ = key_ == "shape" ? Place::shape : Place::offsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) add_tensor();
    place_ = place_ == Place::root ? Place::end : Place::root;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    throw IoError(fmt::format("the header is not JSON at byte {} ({})", position, error.what()), where_);
  }

 private:
  enum class Place { start, root, metadata, tensor, shape, offsets, end };

  [[noreturn]] void refuse(const std::string& found) const {
    const bool in_tensor = place_ == Place::tensor || place_ == Place::shape || place_ == Place::offsets;
    throw IoError(
        fmt::format("the header holds {} at {}\"{}\"", found, in_tensor ? fmt::format("\"{}\" / ", name_) : "", key_),
        where_);
  }

  void add_tensor() {
    if (seen_.size() != 3)
      throw IoError(fmt::format("tensor \"{}\" lacks dtype, shape or data_offsets", name_), where_);
    const auto count = checked_count(shape_);
    const auto size = static_cast<std::int64_t>(size_of(*dtype_));
    if (!count || *count > std::numeric_limits<std::int64_t>::max() / size) {
      throw IoError(fmt::format("tensor \"{}\" has a shape {} that no memory holds", name_, shape_text(shape_)),
                    where_);
    }
    if (offsets_.size() != 2 || offsets_[1] < offsets_[0] || offsets_[1] - offsets_[0] != *count * size) {
      throw IoError(
          fmt::format("tensor \"{}\" of shape {} and dtype {} needs {} bytes, its data_offsets give another number",
                      name_, shape_text(shape_), name_of(*dtype_), *count * size),
          where_);
    }
    header.tensors.push_back({name_, *dtype_, shape_, offsets_[0], *count * size});
  }

  const std::string& where_;
  Place place_ = Place::start;
  std::string key_;
  std::string name_;
  std::set<std::string> names_;
  std::set<std::string> seen_;
  std::optional<DType> dtype_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> offsets_;
};

void check_tiling(const std::vector<SafetensorsEntry>& tensors, std::int64_t data_bytes, const std::string& where) {
  std::int64_t end = 0;
  for (const auto& tensor : tensors) {
    if (tensor.offset != end) {
      throw IoError(fmt::format("tensor \"{}\" starts at byte {} of the data where {} was expected: {}", tensor.name,
                                tensor.offset, end, tensor.offset > end ? "a hole" : "an overlap"),
                    where);
    }
    if (tensor.bytes > data_bytes - end) {
      throw IoError(fmt::format("tensor \"{}\" ends beyond the file: {} bytes from byte {}, the data has {}",
                                tensor.name, tensor.bytes, end, data_bytes),
                    where, "the file was cut short; copy or download it again");
    }
    end += tensor.bytes;
  }
  if (end != data_bytes) {
    throw IoError(fmt::format("the tensors cover {} bytes, the file has {} bytes of data", end, data_bytes), where);
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::int64_t data_bytes, const std::string& where) {
  HeaderHandler handler(where);
  nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  auto header = std::move(handler.header);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.offset + a.bytes) < std::pair(b.offset, b.offset + b.bytes);
  });
  check_tiling(header.tensors, data_bytes, where);
  return header;
}

}  // namespace dstrain
