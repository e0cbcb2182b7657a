// SPDX-License-Identifier: Apache-2.0
/// The facts as text, and which variables belong to them.
#include "cluster/preflight/facts.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain {
namespace {

using Json = nlohmann::json;

Json to_json(const NodeFacts& host) {
  Json gpus = Json::array();
  for (const auto& gpu : host.gpus) gpus.push_back({gpu.uuid, gpu.model, gpu.total_bytes, gpu.free_bytes});
  constexpr std::size_t interfaces_limit = 4096;
  return {{"interfaces", to_line(host.interfaces, interfaces_limit)},
          {"infiniband", host.infiniband},
          {"available", host.available_bytes},
          {"shm", host.shared_memory_bytes},
          {"gpus", gpus},
          {"driver", host.gpu_driver}};
}

NodeFacts host_from_json(const Json& json) {
  NodeFacts host;
  host.interfaces = parse_interfaces(json.at("interfaces").get<std::string>());
  host.infiniband = json.at("infiniband").get<std::vector<std::string>>();
  host.available_bytes = json.at("available").get<std::int64_t>();
  host.shared_memory_bytes = json.at("shm").get<std::int64_t>();
  for (const auto& gpu : json.at("gpus")) {
    host.gpus.push_back({gpu.at(0).get<std::string>(), gpu.at(1).get<std::string>(), gpu.at(2).get<std::int64_t>(),
                         gpu.at(3).get<std::int64_t>()});
  }
  host.gpu_driver = json.at("driver").get<std::string>();
  return host;
}

}  // namespace

std::string RankFacts::tag() const { return fmt::format("{}@{}", rank, host); }

std::string to_text(const RankFacts& f) {
  Json json = {{"rank", f.rank},        {"node", f.node},     {"local_rank", f.local_rank},
               {"host", f.host},        {"build", f.build},   {"binary", f.binary},
               {"mpi", f.mpi},          {"hdf5", f.hdf5},     {"libraries", f.libraries},
               {"device", f.device},    {"cores", f.cores},   {"threads", f.threads},
               {"memlock", f.memlock},  {"nofile", f.nofile}, {"clock", f.clock_s},
               {"settings", f.settings}};
  if (f.host_facts) json["host_facts"] = to_json(*f.host_facts);
  // Whatever a variable or a host name holds must not keep a run from starting.
  auto text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= facts_limit) return text;
  json["settings"] = Json::object();
  json["cores"] = Json::array();
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

RankFacts parse_facts(std::string_view text) {
  try {
    const auto json = Json::parse(text);
    RankFacts f;
    f.rank = json.at("rank").get<int>();
    f.node = json.at("node").get<int>();
    f.local_rank = json.at("local_rank").get<int>();
    f.host = json.at("host").get<std::string>();
    f.build = json.at("build").get<std::string>();
    f.binary = json.at("binary").get<std::string>();
    f.mpi = json.at("mpi").get<std::string>();
    f.hdf5 = json.at("hdf5").get<std::string>();
    f.libraries = json.at("libraries").get<std::string>();
    f.device = json.at("device").get<std::string>();
    f.cores = json.at("cores").get<std::vector<int>>();
    f.threads = json.at("threads").get<int>();
    f.memlock = json.at("memlock").get<std::int64_t>();
    f.nofile = json.at("nofile").get<std::int64_t>();
    f.clock_s = json.at("clock").get<double>();
    f.settings = json.at("settings").get<std::map<std::string, std::string>>();
    if (json.contains("host_facts")) f.host_facts = host_from_json(json.at("host_facts"));
    return f;
  } catch (const Json::exception& error) {
    throw CommError(fmt::format("the start report of a rank cannot be read: {}", error.what()));
  }
}

bool is_setting(std::string_view name) {
  constexpr std::string_view beginnings[] = {"NCCL_",          "UCX_",          "OMPI_MCA_btl",  "OMPI_MCA_pml",
                                             "OMPI_MCA_mtl",   "OMPI_MCA_osc",  "OMPI_MCA_coll", "OMPI_MCA_opal_cuda",
                                             "OMPI_MCA_mpi_l", "OMPI_MCA_mpi_p"};
  return std::any_of(std::begin(beginnings), std::end(beginnings),
                     [&](auto beginning) { return name.starts_with(beginning); });
}

}  // namespace dstrain
