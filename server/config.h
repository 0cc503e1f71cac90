#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "encoding/status.h"
#include "server/config_file.h"
#include "server/options.h"

namespace thermocline {

/// The settings of a running server: CONFIG GET, SET and REWRITE.
/// Threads: the keyspace thread only. Parts of the server that run elsewhere get values handed over by an
/// apply hook.
class Config {
 public:
  /// Puts changed options into effect. Called during Set() with the new settings, all checked; may adjust
  /// them (a maxmemory of `auto` gets its bytes here). On an error, whose message is the reason for the
  /// client, every hook that was called, this one included, is called again with the old settings, which it
  /// must then accept.
  using ApplyHook = std::function<Status(ServerOptions& options)>;

  explicit Config(LoadedConfig loaded) : loaded_(std::move(loaded)) {}
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  /// Stays at its address; its values change with Set().
  const ServerOptions& options() const { return loaded_.options; }
  /// For the owner at start, before anything else looks: to fill in what is automatic, make `dir` absolute
  /// ...
  ServerOptions& startup_options() { return loaded_.options; }
  /// Absolute path, or empty.
  const std::string& file() const { return loaded_.file; }

  /// Calls `hook` once per Set() that changes the value of one of `names`, after the hooks registered before
  /// it.
  void OnChange(std::initializer_list<std::string_view> names, ApplyHook hook);

  /// CONFIG GET: (name, value) of every option that one of the glob patterns matches in any case, each once,
  /// in the order of the table. A pattern without wildcards gives the name as it was asked for, as in Redis.
  std::vector<std::pair<std::string, std::string>> Get(std::span<const std::string_view> patterns) const;

  using Pair = std::pair<std::string_view, std::string_view>;  ///< an option's name and its new value
  /// CONFIG SET: all of `pairs` or, on an error, none. The error's message is Redis's text behind "ERR ".
  Status Set(std::span<const Pair> pairs);

  /// CONFIG REWRITE. The error's message is the text behind "ERR ".
  Status Rewrite();

 private:
  struct Hook {
    std::vector<std::string_view> names;
    ApplyHook apply;
  };
  Status Apply(ServerOptions& changed, std::span<const std::string_view> changed_names);

  LoadedConfig loaded_;
  std::vector<Hook> hooks_;
};

}  // namespace thermocline
