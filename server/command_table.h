#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/command.h"
#include "server/latency_histogram.h"

namespace thermocline {

/// Counts of one command, for INFO commandstats and latencystats.
struct CommandStats {
  uint64_t calls = 0;
  uint64_t us = 0;
  uint64_t rejected = 0;                        ///< refused before it ran (arity, authentication, ...)
  uint64_t failed = 0;                          ///< ran and replied with an error
  std::unique_ptr<LatencyHistogram> latencies;  ///< nullptr: none was recorded
};

/// All rows of all families, found by name. Constant after construction but for the counts.
class CommandTable {
 public:
  /// A row in the table: what the family declared, and what the table adds.
  struct Entry {
    const Command* command;
    const Entry* container = nullptr;  ///< of a subcommand
    std::string full_name;             ///< "config|get"
    std::vector<Entry> subcommands;
    mutable CommandStats stats;
  };

  /// The table of the server: every family there is.
  static CommandTable All();
  explicit CommandTable(std::span<const std::span<const Command>> families);

  /// Case-insensitive. nullptr: there is no such command.
  const Entry* Find(std::string_view name) const;
  static const Entry* FindSubcommand(const Entry& container, std::string_view name);
  /// By "name" or "container|name".
  const Entry* FindByFullName(std::string_view name) const;
  /// In order of declaration.
  std::span<const std::unique_ptr<Entry>> entries() const { return entries_; }

 private:
  struct Slot {
    uint64_t hash = 0;
    const Entry* entry = nullptr;
  };
  static constexpr size_t kNameMax = 32;

  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Slot> slots_;  ///< open addressing, a power of two, at most half full
};

/// The keys among the arguments of a call, by the row's key specs. False: the positions cannot be told.
bool FindKeys(const Command& command, std::span<const std::string_view> args, std::vector<size_t>* positions);

/// Whether the first argument of every call is the one key.
bool TakesOneKey(const Command& command);

/// Equal but for the case of ASCII letters.
bool EqualIgnoreCase(std::string_view a, std::string_view b);

}  // namespace thermocline
