// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/guests.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <tuple>

namespace dstrain {
namespace {

std::string node_name(int rank) {
  return rank < 0 ? std::string("a node without a number") : fmt::format("node {}", rank);
}

/// Two nodes of one machine: their own devices where they were given different ones, else numbered on.
void join_devices(std::vector<int>& devices, const std::vector<int>& more) {
  const bool overlap =
      std::ranges::any_of(more, [&](int device) { return std::ranges::find(devices, device) != devices.end(); });
  devices.insert(devices.end(), more.begin(), more.end());
  if (overlap) std::iota(devices.begin(), devices.end(), 0);
}

}  // namespace

std::string describe(const Guest& guest) {
  return fmt::format("{} ({}{}{})", node_name(guest.card.node_rank), guest.card.host, guest.address.empty() ? "" : " ",
                     guest.address);
}

Guests::Guests(NodeCard own) : nodes_(own.nodes) { guests_.push_back(Guest{std::move(own), {}}); }

Guests::Answer Guests::add(const NodeCard& card, const std::string& address) {
  const Guest guest{card, address};
  const auto& own = guests_.front()->card;
  const auto refused = [&](std::string reason) { return Answer{Verdict::refused, 0, std::move(reason)}; };
  if (card.job != own.job) {
    return refused(
        fmt::format("{} belongs to job \"{}\", this is job \"{}\" (--rdzv_id)", describe(guest), card.job, own.job));
  }
  if (card.version != own.version)
    return refused(fmt::format("{} runs dstrain {}, node 0 runs {}", describe(guest), card.version, own.version));
  if (card.nodes != nodes_)
    return refused(fmt::format("{} was told of {} nodes, node 0 of {}", describe(guest), card.nodes, nodes_));
  if (card.node_rank >= nodes_)
    return refused(fmt::format("{} is not one of {} nodes, which are 0 to {}", describe(guest), nodes_, nodes_ - 1));
  if (card.devices.empty()) return refused(fmt::format("{} has no place for a rank", describe(guest)));

  for (std::size_t seat = 0; seat < guests_.size(); ++seat) {
    if (!guests_[seat] || card.node_rank < 0 || guests_[seat]->card.node_rank != card.node_rank) continue;
    const Guest& there = *guests_[seat];
    if (seat > 0 && there.card.host == card.host && there.card.machine == card.machine && there.address == address) {
      guests_[seat] = guest;
      return {Verdict::returned, seat, {}};
    }
    return {Verdict::duplicate, 0,
            fmt::format("node {} is announced by {} and by {}{}", card.node_rank, there.card.host, card.host,
                        address.empty() ? "" : fmt::format(" ({})", address))};
  }
  const auto here = std::ranges::count_if(guests_, [](const auto& one) { return one.has_value(); });
  if (here >= nodes_) return refused(fmt::format("{} is one too many: all {} nodes are here", describe(guest), nodes_));
  const auto free = std::find(guests_.begin() + 1, guests_.end(), std::nullopt);
  const auto seat = static_cast<std::size_t>(free - guests_.begin());
  if (free == guests_.end()) {
    guests_.emplace_back(guest);
  } else {
    *free = guest;
  }
  return {Verdict::welcome, seat, {}};
}

void Guests::remove(std::size_t seat) {
  if (seat > 0 && seat < guests_.size()) guests_[seat].reset();
}

bool Guests::is_complete() const {
  return std::ranges::count_if(guests_, [](const auto& one) { return one.has_value(); }) == nodes_;
}

std::string Guests::report() const {
  std::string here, missing;
  int unnumbered = 0;
  for (const auto& guest : guests_) {
    if (!guest) continue;
    unnumbered += guest->card.node_rank < 0 ? 1 : 0;
    here += (here.empty() ? "" : ", ") + describe(*guest);
  }
  std::vector<int> free;
  for (int rank = 0; rank < nodes_; ++rank) {
    const bool taken =
        std::ranges::any_of(guests_, [&](const auto& one) { return one && one->card.node_rank == rank; });
    if (!taken) free.push_back(rank);
  }
  constexpr std::size_t most_named = 16;
  if (unnumbered > 0) {
    missing = fmt::format("{} nodes", static_cast<int>(free.size()) - unnumbered);
  } else {
    for (std::size_t i = 0; i < std::min(free.size(), most_named); ++i)
      missing += fmt::format("{}{}", i == 0 ? "node " : ", ", free[i]);
    if (free.size() > most_named) missing += fmt::format(" and {} more", free.size() - most_named);
  }
  return fmt::format("{} missing of {} nodes; here: {}", missing, nodes_, here);
}

void Guests::assign_numbers() {
  std::vector<Guest*> without;
  std::vector<bool> taken(static_cast<std::size_t>(nodes_), false);
  for (auto& guest : guests_) {
    if (!guest) continue;
    if (guest->card.node_rank < 0) {
      without.push_back(&*guest);
    } else {
      taken[static_cast<std::size_t>(guest->card.node_rank)] = true;
    }
  }
  std::ranges::sort(without, {}, [](const Guest* one) { return std::tie(one->card.host, one->address); });
  std::size_t next = 0;
  for (auto* guest : without) {
    while (taken[next]) ++next;
    taken[next] = true;
    guest->card.node_rank = static_cast<int>(next);
  }
}

SeatedRanks seat_ranks(const Guests& guests, const std::string& own_address) {
  std::vector<std::size_t> order;
  for (std::size_t seat = 0; seat < guests.all().size(); ++seat) {
    if (guests.all()[seat]) order.push_back(seat);
  }
  std::ranges::sort(order, {}, [&](std::size_t seat) { return guests.all()[seat]->card.node_rank; });
  SeatedRanks out;
  std::vector<std::string> machines;
  for (const auto seat : order) {
    const Guest& guest = *guests.all()[seat];
    const auto same = std::ranges::find(machines, guest.card.machine);
    if (same != machines.end()) {
      join_devices(out.placement[static_cast<std::size_t>(same - machines.begin())].devices, guest.card.devices);
      continue;
    }
    machines.push_back(guest.card.machine);
    const std::string own = own_address.empty() ? "localhost" : own_address;
    out.placement.push_back({seat == 0 ? own : guest.address, guest.card.devices});
    out.seats.push_back(seat == 0 ? std::nullopt : std::optional(seat));
  }
  return out;
}

}  // namespace dstrain
