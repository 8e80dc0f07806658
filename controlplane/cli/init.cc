#include "controlplane/cli/init.h"

#include <fmt/format.h>
#include <sodium.h>

#include <chrono>
#include <cstdio>
#include <future>

#include "controlplane/api/keyring.h"
#include "controlplane/api/password.h"
#include "controlplane/cli/genesis.h"
#include "controlplane/cli/log_access.h"
#include "events/chain.h"
#include "events/log_place.h"
#include "projections/fetch.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto log_patience = 30s;
constexpr std::size_t password_least = 8;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

template <class T>
T random_id() {
  T id;
  randombytes_buf(&id.hi, sizeof id.hi);
  randombytes_buf(&id.lo, sizeof id.lo);
  id.hi = (id.hi & ~0xf000ull) | 0x4000ull;  // RFC 4122, version 4
  id.lo = (id.lo & ~(3ull << 62)) | (2ull << 62);
  return id;
}

std::string random_password() {
  constexpr char letters[] = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  std::string text(24, ' ');
  for (char& c : text) c = letters[randombytes_uniform(sizeof letters - 1)];
  return text;
}

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// The configuration to go by, and whether init has to write it.
struct Configured {
  Config config;
  bool write = false;
};
Result<Configured> configured(const InitOptions& options, const StateFolder& state) {
  Configured found;
  const std::string& named = options.common.config;
  if (!named.empty() || file_exists(state.config())) {
    auto config = read_config(named.empty() ? state.config() : named);
    if (!config) return config.error();
    found.config = std::move(*config);
    const auto differs = [&](const char* what, const std::string& asked, const std::string& has) -> Error {
      return {Errc::conflict, fmt::format("--{} {} was given, but {} says {}: change one of the two", what,
                                          asked, named.empty() ? state.config() : named, has)};
    };
    if (!options.log.empty() && options.log != found.config.log.place)
      return differs("log", options.log, found.config.log.place);
    if (!options.name.empty() && options.name != found.config.name)
      return differs("name", options.name, found.config.name);
    return found;
  }
  if (!options.log.empty()) found.config.log.place = options.log;
  if (!options.name.empty()) found.config.name = options.name;
  auto checked = parse_config(documented_config(found.config.name, found.config.log.place));
  if (!checked.mistakes.empty()) return {Errc::invalid, checked.mistakes.front().text};
  found.write = true;
  return found;
}

Result<GenesisChoices> choose(const InitOptions& options, const Config& config) {
  if (!options.admin_password.empty() && (options.admin_password.size() < password_least ||
                                          options.admin_password.size() > api::password_chars_max))
    return {
        Errc::invalid,
        fmt::format("the admin's password has {} bytes: give it {} to {}, or leave it out for a random one",
                    options.admin_password.size(), password_least, api::password_chars_max)};
  if (options.admin_password.find('\n') != std::string::npos)
    return {Errc::invalid, "the admin's password has a line break: write it on one line"};
  GenesisChoices choices;
  choices.cloud = random_id<CloudId>();
  choices.log = random_id<LogId>();
  choices.project = random_id<ProjectId>();
  choices.user = random_id<UserId>();
  choices.admin = random_id<RoleId>();
  choices.member = random_id<RoleId>();
  choices.reader = random_id<RoleId>();
  choices.node = random_id<NodeId>();
  choices.name = config.name;
  choices.place = config.log.place;
  choices.password = options.admin_password.empty() ? random_password() : options.admin_password;
  choices.password_hash = api::PasswordPool().hash_now(choices.password);
  choices.at_ms = wall_ms();
  return choices;
}

// The choices of an init that did not end here, or new ones, which are on disk then.
Result<GenesisChoices> begin(const InitOptions& options, const Config& config, const StateFolder& state,
                             bool& resumed) {
  auto text = read_file(state.pending());
  if (text) {
    auto choices = decode_choices(*text);
    if (!choices)
      return {Errc::broken, fmt::format("{} is damaged ({}): remove the folder {} and begin anew",
                                        state.pending(), choices.error().text, state.dir)};
    if (choices->place != config.log.place)
      return {Errc::conflict,
              fmt::format("an init that was interrupted here wanted the log {}, this one {}: give it that "
                          "log, or remove the folder {} and begin anew",
                          choices->place, config.log.place, state.dir)};
    resumed = true;
    return choices;
  }
  if (text.error().code != Errc::not_found) return text.error();
  for (const auto& path : {state.openrc(), state.keyring(), state.node()})
    if (file_exists(path))
      return {Errc::exists,
              fmt::format("there is a cloud in {} already ({}): name another folder with --state, or run "
                          "`reprise serve` to start this one",
                          state.dir, path)};
  auto choices = choose(options, config);
  if (!choices) return choices.error();
  if (auto written = write_file(state.pending(), encode_choices(*choices)); !written) return written.error();
  return choices;
}

// What the log begins with; none: nothing yet.
Result<std::optional<Hash>> first_record(Log& log) {
  auto begun = log.begin(Topic::events);
  if (!begun) return begun.error();
  auto end = fetch_end(log, Topic::events, log_patience);
  if (!end) return end.error();
  if (*end <= *begun) return std::optional<Hash>{};
  auto entries = fetch(log, Topic::events, *begun, 1, log_patience);
  if (!entries) return entries.error();
  Hash hash;
  auto record = decode_record(entries->front().bytes, &hash);
  if (!record)
    return {Errc::broken,
            fmt::format("the log {} begins with something else than a genesis ({}): is it another "
                        "program's? Name another place with --log",
                        log.place(), record.error().text)};
  return std::optional<Hash>{hash};
}

Status append_and_wait(Log& log, Bytes bytes) {
  auto producer = log.open_producer();
  if (!producer) return producer.error();
  auto answer = std::make_shared<std::promise<Result<std::int64_t>>>();
  auto answered = answer->get_future();
  (*producer)->append(Topic::events, std::move(bytes),
                      [answer](Result<std::int64_t> done) { answer->set_value(std::move(done)); });
  if (answered.wait_for(log_patience) != std::future_status::ready)
    return {Errc::timed_out,
            fmt::format("the log {} did not take the first record within {} s: run init again", log.place(),
                        log_patience.count())};
  if (auto offset = answered.get(); !offset) return offset.error();
  return {};
}

// The log begins with our genesis, or it is another's: conflict.
Status put_genesis(Log& log, const SealedRecord& genesis) {
  auto first = first_record(log);
  if (!first) return first.error();
  if (!*first) {
    if (auto done = append_and_wait(log, genesis.bytes); !done) return done;
    first = first_record(log);  // another init may have been there a moment before us: then ours is void
    if (!first) return first.error();
  }
  if (*first == genesis.hash) return {};
  return {Errc::conflict,
          fmt::format("the log {} has another cloud's genesis already: name another place with --log, or "
                      "remove that log if nobody needs it",
                      log.place())};
}

Status write_files(const GenesisChoices& choices, const Configured& configured, const StateFolder& state) {
  if (configured.write && !file_exists(state.config()))
    if (auto done = write_file(state.config(), documented_config(choices.name, choices.place)); !done)
      return done;
  if (!file_exists(state.keyring()))
    if (auto done = api::Keyring::create(state.keyring(), choices.cloud); !done) return done;
  auto keyring = api::Keyring::open(state.keyring(), choices.cloud);
  if (!keyring) return keyring.error();
  if (auto done = (*keyring)->add_project(choices.project); !done) return done;
  if (auto done = write_file(state.node(), choices.node.str() + "\n"); !done) return done;
  return write_file(state.openrc(), openrc_text(configured.config, choices.password));
}

// Another's log: what this init put here would only stand in the way of the next one.
void take_back(const Configured& configured, const StateFolder& state) {
  for (const auto& path : {state.openrc(), state.node(), state.keyring(), state.pending()})
    (void)remove_file(path);
  if (configured.write) (void)remove_file(state.config());
}

}  // namespace

std::string openrc_text(const Config& config, const std::string& password) {
  const std::string url = config.api.public_url.empty()
                              ? fmt::format("http://{}:{}", config.api.listen, config.api.port)
                              : config.api.public_url;
  return fmt::format(
      "# The admin of the cloud {}, for the openstack client: . ./openrc\n"
      "export OS_AUTH_TYPE=password\n"
      "export OS_AUTH_URL={}/identity/v3\n"
      "export OS_USERNAME=admin\n"
      "export OS_PASSWORD={}\n"
      "export OS_PROJECT_NAME=admin\n"
      "export OS_USER_DOMAIN_ID=default\n"
      "export OS_PROJECT_DOMAIN_ID=default\n"
      "export OS_IDENTITY_API_VERSION=3\n"
      "export OS_IMAGE_API_VERSION=2\n"
      "export OS_VOLUME_API_VERSION=3.42\n",
      config.name, url, shell_quoted(password));
}

Result<InitResult> make_cloud(const InitOptions& options, const OpenLogForInit& open) {
  CHECK(sodium_init() >= 0);
  const StateFolder state{options.common.state};
  if (auto made = make_folders(state.dir, 0711); !made) return made.error();
  auto lock = FileLock::take(state.lock(), "reprise init");
  if (!lock) return lock.error();
  auto config = configured(options, state);
  if (!config) return config.error();
  bool resumed = false;
  const auto choices = begin(options, config->config, state, resumed);
  if (!choices) return choices.error();
  if (auto done = write_files(*choices, *config, state); !done) return done.error();
  const SealedRecord genesis = encode(genesis_record(*choices));
  auto log = open(choices->place);
  if (!log) return log.error();
  if (auto done = put_genesis(**log, genesis); !done) {
    if (done.error().code == Errc::conflict) take_back(*config, state);
    return done.error();
  }
  if (auto done = remove_file(state.pending()); !done) return done.error();
  return InitResult{choices->cloud,  choices->log,   choices->node, genesis.hash,
                    (*log)->place(), state.openrc(), resumed};
}

int run_init(const InitOptions& options) {
  const StateFolder state{options.common.state};
  const auto made =
      make_cloud(options, [&](const std::string& place) { return open_log(place, state, LogMode::create); });
  if (!made) return fail(options.common, made.error());
  if (options.common.json) {
    fmt::print(
        "{{\"ok\":true,\"cloud\":\"{}\",\"log\":\"{}\",\"place\":\"{}\",\"node\":\"{}\",\"genesis\":\"{}\","
        "\"openrc\":\"{}\"}}\n",
        made->cloud.str(), made->log.str(), made->place, made->node.str(), made->genesis.hex(), made->openrc);
    return exit_well;
  }
  fmt::print("cloud {} {}\n", made->cloud.str(),
             made->resumed ? "is made (an earlier init was interrupted)" : "is made");
  fmt::print("  log      {} ({})\n  genesis  1:{}\n  node     {}\n  openrc   {}\n", made->place,
             made->log.str(), made->genesis.hex(), made->node.str(), made->openrc);
  fmt::print("start it: reprise serve --state {}\n", options.common.state);
  return exit_well;
}

}  // namespace reprise::cli
