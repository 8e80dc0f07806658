// init: one cloud per folder and per log, also when it was interrupted anywhere.
#include "controlplane/cli/init.h"

#include <sys/stat.h>

#include "controlplane/api/keyring.h"
#include "controlplane/cli/genesis.h"
#include "controlplane/cli/log_access.h"
#include "controlplane/cli/verify.h"
#include "tests/contract/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::cli;
using reprise::contract::TemporaryFolder;

namespace {

Result<InitResult> init(const InitOptions& options) {
  const StateFolder state{options.common.state};
  return make_cloud(options,
                    [&](const std::string& place) { return open_log(place, state, LogMode::create); });
}

// As if the process had ended before it opened the log.
Result<InitResult> interrupted(const InitOptions& options) {
  return make_cloud(options, [](const std::string&) -> Result<std::unique_ptr<Log>> {
    return Error{Errc::unreachable, "the plug was pulled"};
  });
}

std::string password_in(const std::string& openrc) {
  const auto text = read_file(openrc);
  REQUIRE(text);
  const auto at = text->find("OS_PASSWORD=") + 12;
  return text->substr(at, text->find('\n', at) - at);
}

Verified verified(const StateFolder& state) {
  auto log = open_log("embedded", state, LogMode::read_only);
  REQUIRE(log);
  auto result = verify_log(**log, {});
  REQUIRE(result);
  return *result;
}

}  // namespace

TEST_CASE("init makes a cloud whose log proves itself, with private files") {
  const TemporaryFolder folder;
  const StateFolder state{folder.path() + "/a/b"};
  const auto made = init({.common = {.state = state.dir}, .admin_password = "it's a secret"});
  REQUIRE(made);
  CHECK_FALSE(made->resumed);
  const auto log = verified(state);
  CHECK(log.broken == "");
  CHECK(log.head.seq == 1);
  CHECK(log.head.hash == made->genesis);
  CHECK(log.head.log == made->log);
  for (const auto& path : {state.keyring(), state.openrc(), state.config()}) {
    struct stat about {};
    REQUIRE(::stat(path.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
  }
  CHECK_FALSE(file_exists(state.pending()));
  CHECK(password_in(state.openrc()) == "'it'\\''s a secret'");
  CHECK(*read_node_id(state) == made->node);
  auto keyring = api::Keyring::open(state.keyring(), made->cloud);
  CHECK(keyring);
}

TEST_CASE("init refuses to write over a cloud, and changes nothing then") {
  const TemporaryFolder folder;
  const InitOptions options{.common = {.state = folder.path()}};
  const auto made = init(options);
  REQUIRE(made);
  const auto before = *read_file(StateFolder{folder.path()}.openrc());
  const auto again = init(options);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::exists);
  CHECK(*read_file(StateFolder{folder.path()}.openrc()) == before);
  CHECK(verified({folder.path()}).head.seq == 1);
}

TEST_CASE("a log has one genesis: another cloud's is refused, and nothing is left behind") {
  const TemporaryFolder folder;
  const std::string place = "embedded:" + folder.path() + "/log";
  REQUIRE(init({.common = {.state = folder.path() + "/a"}, .log = place}));
  const auto second = init({.common = {.state = folder.path() + "/b"}, .log = place});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Errc::conflict);
  CHECK(second.error().text.find("genesis") != std::string::npos);
  const StateFolder b{folder.path() + "/b"};
  for (const auto& path : {b.openrc(), b.keyring(), b.node(), b.pending(), b.config()})
    CHECK_FALSE(file_exists(path));
  CHECK(init({.common = {.state = b.dir}}));  // elsewhere it goes well
}

TEST_CASE("interrupted anywhere, init goes on to the same cloud") {
  // How many of the files were there when it ended, in the order in which they are made.
  const int files = GENERATE(0, 1, 2, 3, 4);
  const TemporaryFolder folder;
  const StateFolder state{folder.path()};
  const InitOptions options{.common = {.state = state.dir}};
  REQUIRE_FALSE(interrupted(options));
  const auto choices = decode_choices(*read_file(state.pending()));
  REQUIRE(choices);
  const std::string made_in_order[] = {state.config(), state.keyring(), state.node(), state.openrc()};
  for (int i = files; i < 4; ++i) REQUIRE(remove_file(made_in_order[i]));
  const auto made = init(options);
  REQUIRE(made);
  CHECK(made->resumed);
  CHECK(made->cloud == choices->cloud);
  CHECK(made->node == choices->node);
  CHECK(password_in(state.openrc()) == "'" + choices->password + "'");
  CHECK(verified(state).head.hash == made->genesis);
}

TEST_CASE("interrupted after the genesis was appended, init does not append another") {
  const TemporaryFolder folder;
  const StateFolder state{folder.path()};
  const InitOptions options{.common = {.state = state.dir}};
  REQUIRE_FALSE(interrupted(options));
  const auto pending = *read_file(state.pending());
  const auto made = init(options);
  REQUIRE(made);
  REQUIRE(write_file(state.pending(), pending));
  const auto again = init(options);
  REQUIRE(again);
  CHECK(again->genesis == made->genesis);
  CHECK(verified(state).entries == 1);
  CHECK_FALSE(init(options));  // and now there is a cloud
}

TEST_CASE("what cannot be is refused before anything is made") {
  const TemporaryFolder folder;
  const StateFolder state{folder.path() + "/s"};
  CHECK(init({.common = {.state = state.dir}, .admin_password = "short"}).error().code == Errc::invalid);
  CHECK(init({.common = {.state = state.dir}, .log = "kafka:nowhere"}).error().code == Errc::invalid);
  CHECK(init({.common = {.state = state.dir}, .name = "two words"}).error().code == Errc::invalid);
  CHECK_FALSE(file_exists(state.pending()));
  CHECK_FALSE(file_exists(state.config()));
  REQUIRE(init({.common = {.state = state.dir}}));
}

TEST_CASE("choices survive their file") {
  GenesisChoices choices{.cloud = {1, 2},
                         .log = {3, 4},
                         .project = {5, 6},
                         .user = {7, 8},
                         .admin = {9, 1},
                         .member = {9, 2},
                         .reader = {9, 3},
                         .node = {9, 4},
                         .name = "n",
                         .place = "embedded",
                         .password = "a b  c ",
                         .password_hash = "$argon2id$v=19$m=1",
                         .at_ms = 5};
  const auto text = encode_choices(choices);
  CHECK(*decode_choices(text) == choices);
  for (std::size_t size = 0; size + 1 < text.size(); ++size)
    (void)decode_choices(std::string_view(text).substr(0, size));
  CHECK_FALSE(decode_choices(text.substr(0, text.size() - 20)));
}
