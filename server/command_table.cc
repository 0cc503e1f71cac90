#include "server/command_table.h"

#include <algorithm>

#include "encoding/numbers.h"

namespace thermocline {

namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

uint64_t HashLower(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(Lower(c))) * 0x100000001b3ULL;
  return hash ^ hash >> 29;
}

}  // namespace

bool EqualIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

CommandTable::CommandTable(std::span<const std::span<const Command>> families) {
  for (const std::span<const Command> family : families) {
    for (const Command& command : family) {
      auto entry = std::make_unique<Entry>();
      entry->command = &command;
      entry->full_name = command.name;
      entry->subcommands.reserve(command.subcommands.size());
      for (const Command& sub : command.subcommands) {
        Entry child;
        child.command = &sub;
        child.container = entry.get();
        child.full_name = entry->full_name + "|" + std::string(sub.name);
        entry->subcommands.push_back(std::move(child));
      }
      entries_.push_back(std::move(entry));
    }
  }
  size_t size = 64;
  while (size < entries_.size() * 2) size *= 2;
  slots_.resize(size);
  for (const std::unique_ptr<Entry>& entry : entries_) {
    CHECK(entry->full_name.size() <= kNameMax);
    const uint64_t hash = HashLower(entry->full_name);
    size_t i = hash & (size - 1);
    while (slots_[i].entry != nullptr) i = (i + 1) & (size - 1);
    slots_[i] = {hash, entry.get()};
  }
}

CommandTable CommandTable::All() {
  const std::span<const Command> families[] = {
      StringCommands(),     BitmapCommands(), HashCommands(),  ListCommands(),        SetCommands(),
      SortedSetCommands(),  KeyCommands(),    SortCommands(),  TransactionCommands(), PubSubCommands(),
      ConnectionCommands(), ServerCommands(), ObjectCommands()};
  return CommandTable(families);
}

const CommandTable::Entry* CommandTable::Find(std::string_view name) const {
  if (name.size() > kNameMax) return nullptr;
  const uint64_t hash = HashLower(name);
  for (size_t i = hash & (slots_.size() - 1); slots_[i].entry != nullptr; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].hash == hash && EqualIgnoreCase(slots_[i].entry->full_name, name)) return slots_[i].entry;
  }
  return nullptr;
}

const CommandTable::Entry* CommandTable::FindSubcommand(const Entry& container, std::string_view name) {
  for (const Entry& entry : container.subcommands) {
    if (EqualIgnoreCase(entry.command->name, name)) return &entry;
  }
  return nullptr;
}

const CommandTable::Entry* CommandTable::FindByFullName(std::string_view name) const {
  const size_t bar = name.find('|');
  const Entry* entry = Find(name.substr(0, bar));
  if (entry == nullptr || bar == std::string_view::npos) return entry;
  return FindSubcommand(*entry, name.substr(bar + 1));
}

namespace {

/// The argument where the keys of a spec begin; 0: nowhere.
size_t KeysBegin(const KeySpec& spec, std::span<const std::string_view> args) {
  if (spec.begin == KeySpec::Begin::kIndex) return static_cast<size_t>(spec.index);
  if (spec.begin == KeySpec::Begin::kUnknown) return 0;
  const auto count = static_cast<ptrdiff_t>(args.size());
  const ptrdiff_t step = spec.start_from < 0 ? -1 : 1;
  for (ptrdiff_t i = spec.start_from < 0 ? count + spec.start_from : spec.start_from; i > 0 && i < count;
       i += step) {
    if (EqualIgnoreCase(args[static_cast<size_t>(i)], spec.keyword)) return static_cast<size_t>(i + 1);
  }
  return 0;
}

}  // namespace

bool FindKeys(const Command& command, std::span<const std::string_view> args,
              std::vector<size_t>* positions) {
  const auto count = static_cast<ptrdiff_t>(args.size());
  for (const KeySpec& spec : command.keys) {
    if ((spec.flags & kKeyNotKey) != 0) continue;
    if (spec.find == KeySpec::Find::kUnknown || spec.begin == KeySpec::Begin::kUnknown) {
      if (command.unknown_keys == nullptr) return false;
      command.unknown_keys(spec, args, positions);
      continue;
    }
    const auto begin = static_cast<ptrdiff_t>(KeysBegin(spec, args));
    if (begin == 0) continue;
    ptrdiff_t first = begin, last;
    if (spec.find == KeySpec::Find::kRange) {
      last = spec.last >= 0 ? begin + spec.last : count + spec.last;
      if (spec.last == -1 && spec.limit > 1) last = begin + (count - begin) / spec.limit - 1;
    } else {
      const ptrdiff_t at = begin + spec.key_number;
      if (at >= count) return false;
      int64_t keys;
      if (!ParseInt64(args[static_cast<size_t>(at)], &keys) || keys < 0 || keys > count) return false;
      first = begin + spec.first_key;
      last = first + (static_cast<ptrdiff_t>(keys) - 1) * spec.step;
    }
    if (last >= count) return false;
    for (ptrdiff_t i = first; i <= last; i += spec.step) positions->push_back(static_cast<size_t>(i));
  }
  return true;
}

bool TakesOneKey(const Command& command) {
  if (command.keys.size() != 1) return false;
  const KeySpec& spec = command.keys[0];
  return (spec.flags & kKeyNotKey) == 0 && spec.is_plain() && spec.index == 1 && spec.last == 0;
}

}  // namespace thermocline
