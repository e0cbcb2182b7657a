// SPDX-License-Identifier: Apache-2.0
#include "core/build_id.hpp"

#include <elf.h>
#include <fmt/core.h>
#include <link.h>

#include <cstring>
#include <filesystem>
#include <string_view>

namespace dstrain {
namespace {

constexpr std::size_t longest_id = 32;

std::size_t aligned(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

/// The description of the GNU build-id note among the notes of one segment, in hexadecimal.
std::string id_among(std::string_view notes) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const std::size_t name = sizeof header, text = name + aligned(header.n_namesz),
                      end = text + aligned(header.n_descsz);
    if (end > notes.size()) return {};
    if (header.n_type == NT_GNU_BUILD_ID && notes.substr(name, header.n_namesz) == std::string_view("GNU\0", 4)) {
      std::string id;
      for (const char byte : notes.substr(text, std::min<std::size_t>(header.n_descsz, longest_id)))
        id += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      return id;
    }
    notes.remove_prefix(end);
  }
  return {};
}

/// dl_iterate_phdr visits the executable first.
int look_at_executable(dl_phdr_info* info, std::size_t, void* result) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* begin = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    auto id = id_among({begin, segment.p_memsz});
    if (id.empty()) continue;
    *static_cast<std::string*>(result) = std::move(id);
    break;
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string id;
  dl_iterate_phdr(look_at_executable, &id);
  if (!id.empty()) return id;
  std::error_code unreadable;
  return fmt::format("size-{}", std::filesystem::file_size("/proc/self/exe", unreadable));
}

}  // namespace dstrain
