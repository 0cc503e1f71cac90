#include "server/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "encoding/check.h"
#include "encoding/glob.h"
#include "server/option_table.h"

namespace thermocline {
namespace {

Status SetFailed(std::string_view name, std::string_view reason) {
  return {Code::kInvalid,
          fmt::format("CONFIG SET failed (possibly related to argument '{}') - {}", name, reason)};
}

/// CONFIG SET has one text per option; those that take several words get it cut at each blank.
std::vector<std::string> ValueWords(const OptionRow& row, std::string_view value) {
  std::vector<std::string> words;
  if (!std::holds_alternative<WordsField>(row.field)) return {std::string(value)};
  while (true) {
    const size_t blank = std::min(value.find(' '), value.size());
    words.emplace_back(value.substr(0, blank));
    if (blank == value.size()) return words;
    value.remove_prefix(blank + 1);
  }
}

}  // namespace

void Config::OnChange(std::initializer_list<std::string_view> names, ApplyHook hook) {
  for (std::string_view name : names) CHECK(FindOption(name) != nullptr);
  hooks_.push_back({names, std::move(hook)});
}

std::vector<std::pair<std::string, std::string>> Config::Get(
    std::span<const std::string_view> patterns) const {
  std::vector<std::pair<std::string, std::string>> found;
  for (const OptionRow& row : OptionTable()) {
    for (std::string_view name : {row.name, row.alias}) {
      if (name.empty()) continue;
      for (std::string_view pattern : patterns) {
        const bool literal = pattern.find_first_of("*?[") == std::string_view::npos;
        // Redis looks a name without wildcards up as it is, so that a '\' in it is no escape.
        if (literal && pattern.size() != name.size()) continue;
        if (!GlobMatch(pattern, name, true)) continue;
        found.emplace_back(literal ? pattern : name, GetOption(row, options()));
        break;
      }
    }
  }
  return found;
}

Status Config::Set(std::span<const Pair> pairs) {
  std::vector<const OptionRow*> rows;
  for (const auto& [name, value] : pairs) {
    const OptionRow* row = FindOption(name);
    if (row == nullptr) {
      return {Code::kInvalid,
              fmt::format("Unknown option or number of arguments for CONFIG SET - '{}'", name)};
    }
    if (row->change == Change::kAtStart) return SetFailed(name, "can't set immutable config");
    if (row->change == Change::kProtected) return SetFailed(name, "can't set protected config");
    if (std::find(rows.begin(), rows.end(), row) != rows.end()) return SetFailed(name, "duplicate parameter");
    rows.push_back(row);
  }
  ServerOptions changed = options();
  std::vector<std::string_view> changed_names;
  for (size_t i = 0; i < pairs.size(); i++) {
    Status status = SetOption(*rows[i], ValueWords(*rows[i], pairs[i].second), changed);
    if (!status.ok()) return SetFailed(rows[i]->name, status.message());
    // Two texts of one value ("1kb", "1024") are no change; OptionLine also tells "auto" from the same
    // number.
    if (OptionLine(*rows[i], changed) != OptionLine(*rows[i], options()))
      changed_names.push_back(rows[i]->name);
  }
  Status status = Apply(changed, changed_names);
  if (!status.ok()) return status;
  loaded_.options = std::move(changed);
  return {};
}

Status Config::Apply(ServerOptions& changed, std::span<const std::string_view> changed_names) {
  std::vector<const Hook*> called;
  for (const Hook& hook : hooks_) {
    const auto touched =
        std::find_first_of(changed_names.begin(), changed_names.end(), hook.names.begin(), hook.names.end());
    if (touched == changed_names.end()) continue;
    called.push_back(&hook);
    Status status = hook.apply(changed);
    if (status.ok()) continue;
    ServerOptions old = options();
    // What held a moment ago must still do; there is nobody to tell if it does not.
    for (const Hook* undo : called) undo->apply(old).Ignore();
    return SetFailed(*touched, status.message());
  }
  return {};
}

Status Config::Rewrite() {
  if (loaded_.file.empty()) return {Code::kInvalid, "The server is running without a config file"};
  Status status = RewriteConfigFile(loaded_);
  if (!status.ok()) return {status.code(), "Rewriting config file: " + status.message()};
  loaded_.file_options = loaded_.options;
  return {};
}

}  // namespace thermocline
