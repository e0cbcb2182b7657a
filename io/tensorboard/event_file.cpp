// SPDX-License-Identifier: Apache-2.0
#include "io/tensorboard/event_file.hpp"

#include <unistd.h>

#include <array>
#include <bit>

#include "core/error.hpp"
#include "io/tensorboard/crc32c.hpp"

namespace dstrain {
namespace {

/// Protocol Buffers, as far as events need them: fields in ascending order, default values left out.
class Message {
 public:
  Message& number(int field, std::uint64_t value) {
    if (value != 0) key(field, 0).varint(value);
    return *this;
  }
  Message& fixed(int field, double value) {
    return key(field, 1).little_endian(std::bit_cast<std::uint64_t>(value), 8);
  }
  Message& fixed(int field, float value) { return key(field, 5).little_endian(std::bit_cast<std::uint32_t>(value), 4); }
  Message& bytes(int field, std::string_view value) {
    key(field, 2).varint(value.size());
    text_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  Message& key(int field, unsigned wire_type) { return varint(static_cast<std::uint64_t>(field) << 3 | wire_type); }
  Message& varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
    return *this;
  }
  Message& little_endian(std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) text_ += static_cast<char>(value >> (8 * i));
    return *this;
  }

  std::string text_;
};

// Field numbers of event.proto, summary.proto and tensor.proto.
enum Event { event_wall_time = 1, event_step = 2, event_file_version = 3, event_summary = 5 };
enum ValueField { value_tag = 1, value_simple_value = 2, value_tensor = 8, value_metadata = 9 };
enum Tensor { tensor_dtype = 1, tensor_shape = 2, tensor_string_val = 8 };
constexpr int only = 1;  // Summary.value, SummaryMetadata.plugin_data, PluginData.plugin_name, Dim.size
constexpr int shape_dim = 2;
constexpr std::uint64_t dt_string = 7;

std::string with_summary(const Message& value, std::int64_t step, double wall_time) {
  return Message()
      .fixed(event_wall_time, wall_time)
      .number(event_step, static_cast<std::uint64_t>(step))
      .bytes(event_summary, Message().bytes(only, value.text()).text())
      .text();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::string little_endian(std::uint64_t value, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

}  // namespace

std::string scalar_event(std::string_view tag, float value, std::int64_t step, double wall_time) {
  return with_summary(Message().bytes(value_tag, tag).fixed(value_simple_value, value), step, wall_time);
}

std::string text_event(std::string_view tag, std::string_view text, double wall_time) {
  const Message one_element = Message().bytes(shape_dim, Message().number(only, 1).text());
  const Message tensor =
      Message().number(tensor_dtype, dt_string).bytes(tensor_shape, one_element.text()).bytes(tensor_string_val, text);
  const Message metadata = Message().bytes(only, Message().bytes(only, "text").text());
  return with_summary(
      Message().bytes(value_tag, tag).bytes(value_tensor, tensor.text()).bytes(value_metadata, metadata.text()), 0,
      wall_time);
}

std::string version_event(double wall_time) {
  return Message().fixed(event_wall_time, wall_time).bytes(event_file_version, "brain.Event:2").text();
}

std::string tf_record(std::string_view data) {
  std::string record = little_endian(data.size(), 8);
  record += little_endian(masked(crc32c(record)), 4);
  record += data;
  return record + little_endian(masked(crc32c(data)), 4);
}

EventFile::EventFile(const std::filesystem::path& folder, double wall_time) {
  create_folder(folder);
  path_ = folder /
          fmt::format("events.out.tfevents.{}.{}.{}.0", static_cast<std::int64_t>(wall_time), host_name(), ::getpid());
  file_ = create_to_write(path_);
  append(version_event(wall_time));
}

void EventFile::add_scalar(std::string_view tag, double value, std::int64_t step, double wall_time) {
  append(scalar_event(tag, static_cast<float>(value), step, wall_time));
}

void EventFile::add_text(std::string_view tag, std::string_view text, double wall_time) {
  append(text_event(std::string(tag) + "/text_summary", text, wall_time));
}

void EventFile::append(std::string_view event) {
  const std::string record = tf_record(event);
  write_at(file_, end_, record.data(), static_cast<std::int64_t>(record.size()), path_);
  end_ += static_cast<std::int64_t>(record.size());
}

}  // namespace dstrain
