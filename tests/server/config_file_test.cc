#include "server/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/config.h"

namespace thermocline {
namespace {

using testing::HasSubstr;

class ConfigFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "config_file_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }
  std::string Read(const std::string& name) {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static Result<LoadedConfig> Load(std::vector<std::string> arguments, const std::string& input = {}) {
    std::istringstream stream(input);
    return LoadConfig(arguments, stream);
  }
  /// The message of a load that must fail.
  static std::string Error(std::vector<std::string> arguments, const std::string& input = {}) {
    Result<LoadedConfig> loaded = Load(std::move(arguments), input);
    return loaded.ok() ? "<no error>" : loaded.status().message();
  }
  /// Loads `arguments`, sets `pairs`, rewrites.
  static void SetAndRewrite(std::vector<std::string> arguments, const std::vector<Config::Pair>& pairs) {
    Result<LoadedConfig> loaded = Load(std::move(arguments));
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    Config config(*std::move(loaded));
    Status status = config.Set(pairs);
    ASSERT_TRUE(status.ok()) << status.message();
    status = config.Rewrite();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  std::string folder_;
};

TEST_F(ConfigFile, FileStandardInputAndCommandLineInThisOrder) {
  const std::string file =
      Write("a.conf", "# comment\n\n  Port 7000  \r\nhz 5\ntimeout 1\nhz 6\nrequirepass \"a\\x20b\"");
  Result<LoadedConfig> loaded =
      Load({file, "--PORT", "7002", "--bind", "127.0.0.1", "::1", "--maxmemory-policy allkeys-lfu", "-"},
           "timeout 2\nport 7001\n");
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->options.port, 7002);
  EXPECT_EQ(loaded->options.hz, 6);
  EXPECT_EQ(loaded->options.timeout_seconds, 2);
  EXPECT_EQ(loaded->options.requirepass, "a b");
  EXPECT_EQ(loaded->options.bind, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_EQ(loaded->options.maxmemory_policy, EvictionPolicy::kAllKeysLfu);
  EXPECT_EQ(loaded->file, file);
}

TEST_F(ConfigFile, CommandLineQuirksOfRedis) {
  EXPECT_EQ(Load({"--requirepass", "--foo", "--port", "7000"})->options.requirepass, "--foo");
  EXPECT_EQ(Load({"--save", "--port", "7000"})->options.port, 7000);
  EXPECT_EQ(Load({"--save", "", "--port", "7000"})->options.port, 7000);
  EXPECT_EQ(Load({"--port 7000", "--hz", "7"})->options.hz, 7);
  EXPECT_TRUE(Load({"--bind", ""})->options.bind.empty());
  EXPECT_EQ(Load({"--unixsocketperm", "755"})->options.unixsocketperm, 0755);
  EXPECT_EQ(Load({})->options.port, 6379);
  EXPECT_EQ(Load({"-v"})->action, StartAction::kVersion);
  EXPECT_EQ(Load({"--version", "x"})->action, StartAction::kVersion);
  EXPECT_EQ(Load({"--help"})->action, StartAction::kHelp);
  EXPECT_EQ(Load({"--help-config"})->action, StartAction::kHelpConfig);
}

TEST_F(ConfigFile, ErrorsNameFileLineAndReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"foo bar", "Bad directive or wrong number of arguments"},
      {"port", "wrong number of arguments"},
      {"maxmemory 1 2", "wrong number of arguments"},
      {"port abc", "argument couldn't be parsed into an integer"},
      {"maxmemory \"1mb", "Unbalanced quotes in configuration line"},
      {"unixsocketperm 9", "argument couldn't be parsed as an octal number"},
      {"unixsocketperm 1000", "argument must be between 0 and 777 inclusive"},
      {"bind a b c d e f g h i j k l m n o p q", "Too many bind addresses specified."},
      {"daemonize yes", "background"},
      {"appendonly no", "only 'yes' is possible"},
      {"save 900 1", "wrong number of arguments"},
      {"save \"900 1\"", "only \"\" is possible"},
      {"io-threads 2", "not supported yet"},
      {"rename-command a b", "Bad directive or wrong number of arguments"},
  };
  for (const auto& [line, reason] : cases) {
    const std::string file = Write("bad.conf", std::string("hz 10\n\n  ") + line + "\n");
    const std::string error = Error({file});
    EXPECT_THAT(error, HasSubstr("*** FATAL CONFIG FILE ERROR (Thermocline "));
    EXPECT_THAT(error, HasSubstr("'" + file + "', at line 3\n>>> '" + line + "'\n"));
    EXPECT_THAT(error, HasSubstr(reason)) << line;
  }
  EXPECT_THAT(Error({"--foo", "bar"}), HasSubstr("the command line\n>>> 'foo \"bar\"'\nBad directive"));
  EXPECT_THAT(Error({"--hz", "10", "20"}), HasSubstr(">>> 'hz \"10\" \"20\"'\nwrong number of arguments"));
  EXPECT_THAT(Error({"--hz"}), HasSubstr(">>> 'hz'\nwrong number of arguments"));
  EXPECT_THAT(Error({Write("ok.conf", ""), "hz"}), HasSubstr(">>> 'hz'"));
  EXPECT_THAT(Error({"--\"a"}), HasSubstr("Bad directive"));
  EXPECT_THAT(Error({"--"}), HasSubstr("Bad directive"));
  EXPECT_THAT(Error({"-"}, "hz x\n"), HasSubstr("standard input, at line 1\n>>> 'hz x'"));
  EXPECT_THAT(Error({Path("none.conf")}),
              HasSubstr("can't open config file '" + Path("none.conf") + "': No such file"));
  EXPECT_THAT(Error({folder_}), HasSubstr("Is a directory"));
}

TEST_F(ConfigFile, IncludesInPlaceAndByPattern) {
  Write("1.inc", "hz 11\ntimeout 11\n");
  Write("2.inc", "hz 12\nport x\n");
  const std::string file = Write("a.conf", "hz 5\ninclude " + Path("1.inc") + "\ntimeout 5\n");
  Result<LoadedConfig> loaded = Load({file});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->options.hz, 11);
  EXPECT_EQ(loaded->options.timeout_seconds, 5);
  EXPECT_THAT(Error({Write("b.conf", "include " + Path("*.inc") + "\n")}), HasSubstr("2.inc', at line 2"));
  EXPECT_TRUE(Load({Write("c.conf", "include " + Path("*.none") + "\n")}).ok());
  EXPECT_THAT(Error({Write("d.conf", "include " + Path("none") + "\n")}), HasSubstr("No such file"));
  EXPECT_THAT(Error({Write("e.conf", "include " + Path("e.conf") + "\n")}), HasSubstr("too many levels"));
}

TEST_F(ConfigFile, RewriteKeepsWhatHoldsAndReplacesWhatChanged) {
  const std::string file = Write("a.conf",
                                 "# first comment\n"
                                 "port 7797\n"
                                 "   # indented\n"
                                 "\n"
                                 "hz 10\n"
                                 "HZ 20\n"
                                 "requirepass 'a b'\n"
                                 "maxmemory   104857600  \n"
                                 "# tail\n"
                                 "timeout 5\n"
                                 "client-output-buffer-limit normal 1mb 2mb 3\n"
                                 "client-output-buffer-limit pubsub 32mb 8mb 60\n"
                                 "loglevel verbose");
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  SetAndRewrite({file},
                {{"hz", "7"}, {"timeout", "0"}, {"maxmemory-samples", "7"}, {"requirepass", "x\"y\n"}});
  const std::string expected =
      "# first comment\n"
      "port 7797\n"
      "   # indented\n"
      "\n"
      "hz 7\n"
      "requirepass \"x\\\"y\\x0a\"\n"
      "maxmemory   104857600  \n"
      "# tail\n"
      "timeout 0\n"
      "client-output-buffer-limit normal 1mb 2mb 3\n"
      "client-output-buffer-limit pubsub 32mb 8mb 60\n"
      "loglevel verbose\n"
      "\n"
      "# Generated by CONFIG REWRITE\n"
      "maxmemory-samples 7\n";
  EXPECT_EQ(Read("a.conf"), expected);
  struct stat info;
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);

  // A second time there is nothing to do, and a third change finds its place.
  SetAndRewrite({file}, {});
  EXPECT_EQ(Read("a.conf"), expected);
  SetAndRewrite(
      {file},
      {{"maxmemory-samples", "8"}, {"maxmemory", "200mb"}, {"client-output-buffer-limit", "normal 0 0 0"}});
  EXPECT_THAT(Read("a.conf"), HasSubstr("\nmaxmemory 200mb\n"));
  EXPECT_THAT(Read("a.conf"), testing::EndsWith("# Generated by CONFIG REWRITE\nmaxmemory-samples 8\n"));
  EXPECT_THAT(Read("a.conf"), HasSubstr("\nclient-output-buffer-limit normal 0 0 0 slave 268435456 67108864 "
                                        "60 pubsub 33554432 8388608 60\nlog"));
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1);
}

TEST_F(ConfigFile, RewriteWritesBehindAnIncludeWhatTheIncludeSays) {
  Write("1.inc", "hz 11\ntimeout 11\nloglevel debug\n");
  const std::string file = Write("a.conf", "hz 5\nloglevel notice\ninclude " + Path("1.inc") + "\n");
  SetAndRewrite({file}, {{"timeout", "0"}, {"loglevel", "notice"}});
  EXPECT_EQ(Read("a.conf"), "hz 5\ninclude " + Path("1.inc") +
                                "\n\n# Generated by CONFIG REWRITE\ntimeout 0\nloglevel notice\n");
  Result<LoadedConfig> loaded = Load({file});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->options.hz, 11);
  EXPECT_EQ(loaded->options.timeout_seconds, 0);
  EXPECT_EQ(loaded->options.loglevel, LogLevel::kNotice);
  SetAndRewrite({file}, {{"timeout", "3"}});
  EXPECT_EQ(Load({file})->options.timeout_seconds, 3);
}

TEST_F(ConfigFile, RewriteFollowsLinksMakesMissingFilesAndReportsFailure) {
  Write("real.conf", "hz 5\n");
  std::filesystem::create_symlink(Path("real.conf"), Path("link.conf"));
  SetAndRewrite({Path("link.conf")}, {{"hz", "6"}});
  EXPECT_EQ(Read("real.conf"), "hz 6\n");
  EXPECT_TRUE(std::filesystem::is_symlink(Path("link.conf")));

  LoadedConfig config;
  config.options.port = 1234;
  config.file = Path("new.conf");
  EXPECT_TRUE(RewriteConfigFile(config).ok());
  EXPECT_EQ(Read("new.conf"), "# Generated by CONFIG REWRITE\nport 1234\n");
  config.file = Path("none/new.conf");
  EXPECT_EQ(RewriteConfigFile(config).code(), Code::kIoError);
}

TEST_F(ConfigFile, RewriteWithALineBehindTheIncludeAndAnOverrideOnTheCommandLine) {
  Write("1.inc", "timeout 11\nhz 11\n");
  const std::string file = Write("a.conf", "include " + Path("1.inc") + "\ntimeout 5\n");
  Result<LoadedConfig> loaded = Load({file, "--hz", "12", "--port", "7000"});
  ASSERT_TRUE(loaded.ok());
  Config config(*std::move(loaded));
  for (const char* timeout : {"11", "6", "5", "11"}) {
    ASSERT_TRUE(config.Set(std::vector<Config::Pair>{{"timeout", timeout}}).ok());
    ASSERT_TRUE(config.Rewrite().ok());
    const Result<LoadedConfig> again = Load({file});
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(std::to_string(again->options.timeout_seconds), timeout);
    EXPECT_EQ(again->options.hz, 12);
    EXPECT_EQ(again->options.port, 7000);
  }
}

}  // namespace
}  // namespace thermocline
