// What points at what: every reference of every row is listed with what becomes of it, and nothing that is decided leaves
// one that points at nothing.
#include "projections/references.h"

#include <fmt/format.h>

#include "controlplane/cli/genesis.h"
#include "controlplane/decide/decide.h"
#include "controlplane/decide/server.h"
#include "tests/sim/workload.h"
#include "tests/unit/scribe.h"
#undef CHECK  // in tests Catch2's is meant
#include <catch2/catch.hpp>

namespace reprise::testing {
namespace {

TEST_CASE("every field that is a reference is listed, and nothing else") {
  std::map<std::string, const char*> listed;
  for (const auto& one : references()) {
    INFO(one.table << "." << one.field);
    CHECK(listed.emplace(fmt::format("{}.{}", one.table, one.field), one.target).second);
  }
  const auto fields = reference_fields();
  for (const auto& [field, target] : fields) {
    INFO(field << " refers to " << target);
    CHECK(listed.contains(field));
    if (listed.contains(field)) CHECK(std::string(listed[field]) == target);
  }
  for (const auto& [field, target] : listed) {
    INFO(field);
    CHECK(fields.contains(field));
  }
}

// Sets one field, if it is a reference.
struct SetReference {
  std::string_view field;
  bool set = false;
  template <class T>
  void operator()(unsigned, const char* name, T& value) {
    if (name != field) return;
    if constexpr (requires { value.hi; }) value = {7, 7}, set = true;
    else if constexpr (std::is_same_v<T, std::vector<FixedIp>>) value = {FixedIp{{7, 7}, {1}}}, set = true;
  }
};

template <class Row>
void dangle(const Reference& reference, Table<Row> State::*member, const char* name) {
  if (std::string_view(reference.table) != name) return;
  Row row;
  SetReference set{reference.field};
  Row::fields(row, set);
  REQUIRE(set.set);
  if constexpr (std::is_same_v<Row, Server>) row.task = TaskState::spawning;
  State state;
  (state.*member).insert(row);
  const auto wrong = check_references(state);
  const bool said = wrong.find(fmt::format("its {} is", reference.field)) != std::string::npos;
  CHECK(said == (reference.policy != OnDelete::copied));
}

TEST_CASE("a reference that points at nothing is found, of every kind") {
  for (const auto& reference : references()) {
    INFO(reference.table << "." << reference.field);
#define TABLE(Row, member) dangle(reference, &State::member, Row::table_name);
#include "projections/tables.def"
#undef TABLE
  }
}

// A cloud whose clients wish for anything, and whose nodes do what is wished now and then.
class Clients {
 public:
  explicit Clients(std::uint64_t seed) : prng_(seed) {
    const cli::GenesisChoices choices{.cloud = make_id<CloudId>(1), .log = make_id<LogId>(1), .project = make_id<ProjectId>(1, 4),
                                      .user = make_id<UserId>(1, 5), .admin = make_id<RoleId>(1, 6), .member = make_id<RoleId>(2, 6),
                                      .reader = make_id<RoleId>(3, 6), .name = "c", .password = "", .password_hash = "x",
                                      .at_ms = scribe_.at_ms};
    scribe_.write(cli::genesis_record(choices).decisions);
    workload_.emplace(sim::Actor{choices.user, choices.project}, choices.member, prng_.fork("wishes"));
    for (std::uint64_t i = 1; i <= 2; ++i) {
      const auto id = make_id<NodeId>(i, 0x14);
      scribe_.write({NodeAdmitted{.id = id, .name = id.str()},
                     NodeStarted{.id = id, .nonce = id.as<AnyId>(), .zone = "nova", .vcpus = 64, .ram_mib = 1 << 16,
                                 .disk_gib = 1000}});
    }
    for (auto& intent : workload_->opening()) ask(std::move(intent));
  }

  void step() {
    for (auto& intent : workload_->draw(prng_.fork("draw"), state())) ask(with_more_references(std::move(intent)));
    if (prng_.chance(500)) pull_away();
    if (prng_.chance(500)) advance();
  }
  const State& state() const { return scribe_.state; }
  std::map<std::string, int> refused;  // by what
  std::map<std::string, int> seen;     // references that are there and may not dangle, after a step
  void look() {
    state().volumes.each([&](const Volume& row) { seen["volume of an image"] += row.image && needs_image(row); });
    state().volumes.each([&](const Volume& row) { seen["volume at a server"] += bool(row.server); });
    state().servers.each([&](const Server& row) { seen["server of an image"] += needs_image(row); });
    state().servers.each([&](const Server& row) { seen["server with a kernel"] += bool(row.kernel); });
    state().users.each([&](const User& row) { seen["user with a project"] += bool(row.default_project); });
  }

 private:
  void ask(Intent intent) {
    ++asked_;
    intent.id = make_id<IntentId>(asked_, 0x1e);
    intent.request_id = fmt::format("req-{}", asked_);
    intent.sent_ms = scribe_.at_ms;
    intent.expires_ms = scribe_.at_ms + 30'000;
    Events events = decide(state(), intent, scribe_.at_ms);
    if (events[0].is<IntentRefused>()) ++refused[refusal_name(static_cast<Refusal>(events[0].as<IntentRefused>().refusal))];
    std::vector<Decision> decisions;
    decisions.push_back(by_intent(asked_, std::move(intent), std::move(events)));
    scribe_.write(std::move(decisions));
  }

  template <class Row>
  const Row* any(const Table<Row>& table) {
    const Row* found = nullptr;
    auto left = table.size() ? prng_.below(table.size()) + 1 : 0;
    table.each([&](const Row& row) { if (left && --left == 0) found = &row; });
    return found;
  }

  // The simulator's clients name neither default projects nor kernels.
  Intent with_more_references(Intent intent) {
    const Project* project = any(state().projects);
    const Image* image = any(state().images);
    if (intent.type() == IntentType::CreateUser && project) {
      auto create = intent.as<CreateUser>();
      create.default_project = project->id;
      intent.set(std::move(create));
    } else if (intent.type() == IntentType::CreateVolume && image) {
      auto create = intent.as<CreateVolume>();
      create.image = image->id;
      intent.set(std::move(create));
    } else if (intent.type() == IntentType::CreateImage && image && prng_.chance(500)) {
      auto create = intent.as<CreateImage>();
      create.properties = {prng_.chance(500) ? "kernel_id" : "ramdisk_id", image->id.str()};
      intent.set(std::move(create));
    }
    // A wish may name what was never there, too.
    if (intent.type() == IntentType::CreateKeypair && prng_.chance(500)) {
      auto create = intent.as<CreateKeypair>();
      const User* user = any(state().users);
      create.user = user && prng_.chance(700) ? user->id : UserId{prng_.next(), 1};
      intent.set(std::move(create));
    }
    return intent;
  }

  // An admin deletes what some row points at just now.
  void pull_away() {
    const Server* server = any(state().servers);
    const Volume* volume = any(state().volumes);
    const Port* port = any(state().ports);
    const User* user = any(state().users);
    Intent intent;
    intent.user = workload_->admin().user;
    intent.project = workload_->admin().project;
    switch (prng_.below(7)) {
      case 0: return server ? delete_one(DeleteImage{.id = server->image}, std::move(intent)) : void();
      case 1: return server && server->kernel ? delete_one(DeleteImage{.id = server->kernel}, std::move(intent)) : void();
      case 2: return volume && volume->image ? delete_one(DeleteImage{.id = volume->image}, std::move(intent)) : void();
      case 3: return volume && volume->server ? delete_one(DeleteServer{.id = volume->server}, std::move(intent)) : void();
      case 4: return port ? delete_one(DeleteNetwork{.id = port->network}, std::move(intent)) : void();
      case 5:
        return port && !port->fixed.empty() ? delete_one(DeleteSubnet{.id = port->fixed[0].subnet}, std::move(intent)) : void();
      default:
        return user && user->default_project && user->default_project != intent.project
                   ? delete_one(DeleteProject{.id = user->default_project}, std::move(intent))
                   : void();
    }
  }
  template <class Delete>
  void delete_one(Delete body, Intent intent) {
    intent.object = body.id.template as<AnyId>();
    intent.set(std::move(body));
    ask(std::move(intent));
  }

  // One node's agents come one step nearer to what is wished of one object.
  void advance() {
    if (const Image* image = any(state().images); image && image->status == ImageStatus::queued)
      take({ImageStored{.id = image->id, .size = 1 << 20, .virtual_size = 1 << 20}});
    if (const Server* server = any(state().servers)) take(advance_server(*server));
    if (const Volume* volume = any(state().volumes)) take(advance_volume(*volume));
  }
  void take(Events events) {
    if (!events.empty()) scribe_.write(std::move(events));
  }
  Events advance_server(const Server& server) {
    Events events;
    if (server.tenure == Tenure::placed && server.task == TaskState::spawning) {
      if (prng_.chance(200)) events = server::give_up_place(state(), server, "it failed", scribe_.at_ms);
      else if (server.disk_ready) events.push_back(ServerStarted{.id = server.id});
      else events.push_back(ServerDiskReady{.id = server.id});
    } else if (server.tenure == Tenure::unplacing) {
      const ServerId id = server.id;
      state().ports.each_by(Port::by_server, encode_key(id), [&](const Port& port) {
        return events.push_back(PortReleased{.id = port.id}), true;
      });
      events.push_back(ServerReleased{.id = id, .agent = wire::AgentKind::compute});
      events.push_back(ServerReleased{.id = id, .agent = wire::AgentKind::storage});
      scribe_.write(std::move(events));
      server::Before before;
      events = server::after_vacated(state(), state().servers.at(id), scribe_.at_ms, before);
    }
    return events;
  }
  Events advance_volume(const Volume& volume) {
    if (volume.status == VolumeStatus::creating && prng_.chance(700)) return {};
    switch (volume.status) {
      case VolumeStatus::creating: return {VolumeReady{.id = volume.id}};
      case VolumeStatus::attaching: return {VolumeAttached{.id = volume.id}};
      case VolumeStatus::detaching: return {VolumeDetached{.id = volume.id}};
      case VolumeStatus::deleting: return {VolumeDeleted{.id = volume.id}};
      default: return {};
    }
  }

  Scribe scribe_{false};
  sim::Prng prng_;
  std::optional<sim::Workload> workload_;
  std::uint64_t asked_ = 0;
};

TEST_CASE("whatever clients create and delete, in any order, no reference is left that points at nothing") {
  std::map<std::string, int> refused, seen;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    Clients clients(seed);
    for (int i = 0; i < 400; ++i) {
      clients.step();
      REQUIRE(check_references(clients.state()) == "");
      clients.look();
    }
    for (const auto& [what, count] : clients.refused) refused[what] += count;
    for (const auto& [what, count] : clients.seen) seen[what] += count;
    CHECK(check_counters(clients.state()) == "");
  }
  // And it was tried.
  CHECK(refused["in_use"] > 100);
  for (const auto& [what, count] : seen) {
    INFO(what);
    CHECK(count > 100);
  }
}

}  // namespace
}  // namespace reprise::testing
