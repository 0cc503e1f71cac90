#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "server/option_table.h"
#include "server/server.h"

namespace thermocline {
namespace {

int Main(const std::vector<std::string>& arguments) {
  Result<LoadedConfig> loaded = LoadConfig(arguments, std::cin);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", loaded.status().message().c_str());
    return 1;
  }
  switch (loaded->action) {
    case StartAction::kVersion:
      std::printf("Thermocline server v=" THERMOCLINE_VERSION
                  " redis_version=7.0.15 build=" THERMOCLINE_BUILD_TYPE "\n");
      return 0;
    case StartAction::kHelp: std::printf("%s", std::string(UsageText()).c_str()); return 0;
    case StartAction::kHelpConfig: std::printf("%s", OptionReference().c_str()); return 0;
    case StartAction::kRun: break;
  }
  Config config(std::move(*loaded));
  Log log;
  log.SetLevel(config.options().loglevel);
  if (Status s = log.Open(config.options().logfile); !s.ok()) {
    std::fprintf(stderr, "%s\n", s.message().c_str());
    return 1;
  }
  const SystemClock clock;
  log.Notice("Thermocline " THERMOCLINE_VERSION " (" THERMOCLINE_BUILD_TYPE ") is starting");
  Result<std::unique_ptr<Server>> server = Server::Start(config, log, clock);
  if (!server.ok()) {
    log.Warning(server.status().message());
    std::fprintf(stderr, "%s\n", server.status().message().c_str());
    return 1;
  }
  uint64_t keys = 0;
  for (int db = 0; db < (*server)->keyspace().databases(); ++db) keys += (*server)->keyspace().KeyCount(db);
  log.Notice("Ready to accept connections on port " + std::to_string(config.options().port) + ", " +
             std::to_string(keys) + " keys in " + config.options().dir);
  const int status = (*server)->Run();
  log.Notice("Shutting down: syncing the log");
  server->reset();
  log.Notice("Bye bye");
  return status;
}

}  // namespace
}  // namespace thermocline

int main(int argc, char** argv) { return thermocline::Main(std::vector<std::string>(argv + 1, argv + argc)); }
