#include "tests/scripts/script.h"

#include <algorithm>
#include <sstream>

#include "controlplane/cli/genesis.h"
#include "events/hash.h"
#include "events/print.h"
#include "tests/scripts/commands.h"
#include "tests/sim/processes.h"

namespace reprise::script {
namespace {

constexpr std::int64_t quiet_ms = 3'000;          // nothing was folded for so long: all is quiet
constexpr std::int64_t failover_ms = 20'000;      // the same while a controller may be on its way
constexpr std::int64_t patience_ms = 7'200'000;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.pop_back();
  return text;
}

// " deadline_ms=…" and the like: true in every run, and of no interest.
std::string without(std::string line, const std::string& field) {
  const auto at = line.find(" " + field + "=");
  if (at == std::string::npos) return line;
  return line.erase(at, line.find(' ', at + 1) == std::string::npos ? std::string::npos : line.find(' ', at + 1) - at);
}

class ScriptWorld {
 public:
  explicit ScriptWorld(const Kill& kill) : ground_(7), kill_(kill) {
    ground_.log = std::make_unique<sim::SimLog>(ground_.queue, ground_.prng("log"));
    const auto id = [this](const char* label) { return labels_.id(label); };
    choices_ = {.cloud = id("cloud").as<CloudId>(), .log = id("log").as<LogId>(), .project = id("admin-project").as<ProjectId>(),
                .user = id("admin").as<UserId>(), .admin = id("role-admin").as<RoleId>(), .member = id("role-member").as<RoleId>(),
                .reader = id("role-reader").as<RoleId>(), .node = id("first-node").as<NodeId>(), .name = "script",
                .place = "script", .password = "x", .password_hash = "x", .at_ms = ground_.now().wall_ms};
    ground_.log->write(Topic::events, encode(cli::genesis_record(choices_)).bytes);
    client_ = ground_.log->client("script");
    reports_ = std::move(*client_->open_reader(Topic::reports, 0, [] {}));
    reader_ = std::make_unique<sim::Task>(ground_, [this] { return pump(), ground_.queue.now_ms() + 3'600'000; });
    follower_ = std::make_unique<sim::Follower>(ground_, *client_, [this] { reader_->wake(); });
    controller_ = std::make_unique<sim::ControllerProcess>(ground_, "controller");
    controller_->start();
    reader_->wake();
    settle();
    lines_.clear();
    records_ = 0;
  }

  std::string run(const std::vector<std::string>& commands) {
    for (const auto& line : commands) {
      const Words words = split(line);
      Cast cast{labels_, choices_.user, choices_.project};
      if (auto intent = intent_of(words, cast)) send(std::move(*intent));
      else if (!world_command(words)) trouble_ = "no such command: " + line;
      settle();
    }
    std::string transcript;
    for (const auto& line : lines_) transcript += line + "\n";
    lines_.clear();
    return transcript;
  }

  const std::string& trouble() const { return trouble_.empty() ? ground_.violation : trouble_; }
  int records() const { return records_; }

 private:
  void send(Intent intent) {
    intent.body_hash = blake2b(encode(intent));
    intent.id = {0x1e00000000000000u, ++sent_};
    intent.request_id = "req-" + std::to_string(sent_);
    intent.sent_ms = ground_.now().wall_ms;
    intent.expires_ms = std::max(intent.sent_ms, follower_->head().at_ms) + 600'000;
    ground_.log->write(Topic::intents, encode(intent));
  }

  // What happens to the world and is no client's wish.
  bool world_command(const Words& w) {
    if (w.command == "nodes") {
      for (std::int64_t i = 0; i < std::stoll(w.subject); ++i) add_node(w);
      return true;
    }
    if (w.command == "wait") {
      ground_.queue.run_until(ground_.queue.now_ms() + std::stoll(w.subject) * 1000);
      return true;
    }
    if (w.command == "stop-controller") return controller_->kill(), true;
    if (w.command == "start-controller") return controller_->start(), true;
    sim::NodeProcess* node = node_of(w);
    if (w.command == "stop-node" && node) return node->kill(), true;
    if (w.command == "start-node" && node) return node->start(), true;
    if (w.command == "cut-node" && node) return node->cut(true), true;
    if (w.command == "heal-node" && node) return node->cut(false), true;
    if (w.command == "holds" && node) {
      const auto& host = node->host();
      lines_.push_back(fmt::format("{} holds {} servers, {} disks, {} ports", w.subject, host.servers().servers.size(),
                                   host.disks().disks.size(), host.ports().ports.size()));
      return true;
    }
    if (w.command == "restart-host" && node) return node->restart_host(), node->start(), true;
    if (w.command == "late-announcement" && node) return announce_late(node->facts().id);
    const ServerId server = labels_.id(w.subject).as<ServerId>();
    for (auto& one : nodes_) {
      if (w.command == "guest-powers-off") one->host().guest_powers_off(server);
      else if (w.command == "kill-guest") one->host().kill_guest(server);
      else if (w.command == "deaf-guest") one->host().set_deaf(server, true);
      else if (w.command == "suspend-guest") one->host().pause_guest(server, compute::Pause::by_hand);
      else if (w.command == "resume-guest") one->host().pause_guest(server, compute::Pause::none);
      else if (w.command == "fill-disks") one->host().set_full(true);
      else if (w.command == "free-disks") one->host().set_full(false);
      else if (w.command == "lose-disk") lose_disk(one->host(), labels_.id(w.subject));
      else if (w.command == "break-network") one->host().set_network_trouble(labels_.id(w.subject).as<NetworkId>(), w.get("why", "it is broken"));
      else if (w.command == "mend-network") one->host().set_network_trouble(labels_.id(w.subject).as<NetworkId>(), "");
      else if (w.command == "blind") blind_[w.subject] = w.get("why", "it is not there");
      else if (w.command == "see") blind_.erase(w.subject);
      else if (w.command == "fail") failing_[w.subject] = w.get("why", "it failed");
      else if (w.command == "mend") failing_.erase(w.subject);
      else return false;
    }
    return true;
  }

  void add_node(const Words& w) {
    const std::string name = "node" + std::to_string(nodes_.size() + 1);
    NodeFacts facts{.id = labels_.id(name).as<NodeId>(), .name = name, .zone = w.get("zone", "nova"), .boot_id = name + "-boot-1",
                    .vcpus = static_cast<std::uint32_t>(w.number("vcpus", 16)), .ram_mib = static_cast<std::uint64_t>(w.number("ram", 4096)),
                    .disk_gib = static_cast<std::uint64_t>(w.number("disk", 100)), .compute_driver = "simulated",
                    .storage_driver = "simulated", .network_driver = "simulated", .storage_pool = w.get("pool")};
    auto disks = std::make_shared<SimulatedDisks>(1000, !facts.storage_pool.empty());
    if (!facts.storage_pool.empty()) disks = pools_.try_emplace(facts.storage_pool, disks).first->second;
    SimulatedHost::Hooks hooks{.fault = [this](AgentKind agent, const std::string& what, AnyId) -> SimulatedFault {
      const auto at = failing_.find(std::string(agent_name(agent)) + "." + what);
      if (at == failing_.end()) return {};
      return {SimulatedFault::fails, {Errc::broken, at->second}};
    }, .blind = [this](AgentKind agent) -> Status {
      const auto at = blind_.find(agent_name(agent));
      return at == blind_.end() ? Status{} : Status{Errc::not_found, at->second};
    }};
    nodes_.push_back(std::make_unique<sim::NodeProcess>(ground_, std::move(facts), std::move(disks), std::move(hooks)));
    nodes_.back()->start();
  }

  static void lose_disk(SimulatedHost& host, AnyId id) {
    const auto disks = host.disks().disks;
    for (const auto& [key, disk] : disks)
      if (key.first == id) host.lose_disk(id, key.second);
  }

  // A copy of the node's first announcement comes out of the network only now.
  bool announce_late(NodeId node) {
    const auto entries = reports_->poll(1'000'000);
    if (!entries) return false;
    for (const auto& entry : *entries)
      if (const auto report = decode_report(entry.bytes); report && report->body.AsAgentStarted())
        announcements_.try_emplace(report->node, entry.bytes);
    const auto first = announcements_.find(node);
    if (first == announcements_.end()) return false;
    ground_.log->write(Topic::reports, first->second);
    return true;
  }

  sim::NodeProcess* node_of(const Words& w) {
    for (auto& one : nodes_)
      if (one->facts().name == w.subject) return one.get();
    return nullptr;
  }

  // Until nothing was folded for a while, and no deadline is near.
  void settle() {
    const std::int64_t end = ground_.queue.now_ms() + patience_ms;
    std::int64_t quiet_from = ground_.queue.now_ms();
    int seen = records_;
    while (ground_.queue.now_ms() < end && trouble().empty()) {
      ground_.queue.run_until(ground_.queue.now_ms() + 100);
      if (records_ != seen) seen = records_, quiet_from = ground_.queue.now_ms();
      if (ground_.queue.now_ms() - quiet_from >= (kill_.step ? failover_ms : quiet_ms)) return;
    }
  }

  void pump() {
    follower_->pump([this](const Step& step, const State::Touched&) {
      ++records_;
      for (const auto& decision : step.record.decisions)
        for (const auto& event : decision.events) note(event);
      if (kill_.step && records_ == kill_.step) kill_someone();
    });
  }

  void note(const Event& event) {
    if (event.is<ControllerStarted>() || event.is<IntentTried>()) return;  // who leads is no part of what happened
    if (event.is<NodeStarted>() && kill_.who == Kill::agent) return;
    std::string line = print_words(event, [this](AnyId id) { return labels_.label(id); });
    for (const char* field : {"deadline_ms", "nonce", "identity", "lost"}) line = without(std::move(line), field);
    lines_.push_back(std::move(line));
  }

  void kill_someone() {
    ground_.queue.at(ground_.queue.now_ms(), [this] {
      if (kill_.who == Kill::controller) controller_->kill(), controller_->start();
      if (kill_.who == Kill::agent)
        for (auto& node : nodes_)
          if (node->alive()) node->kill(), node->start();
    });
  }

  sim::Ground ground_;
  const Kill kill_;
  Labels labels_;
  cli::GenesisChoices choices_;
  std::unique_ptr<Log> client_;
  std::unique_ptr<Reader> reports_;
  std::map<NodeId, Bytes> announcements_;
  std::unique_ptr<sim::Task> reader_;
  std::unique_ptr<sim::Follower> follower_;
  std::unique_ptr<sim::ControllerProcess> controller_;
  std::map<std::string, std::shared_ptr<SimulatedDisks>> pools_;
  std::vector<std::unique_ptr<sim::NodeProcess>> nodes_;
  std::map<std::string, std::string> failing_;
  std::map<std::string, std::string> blind_;  // agents
  std::vector<std::string> lines_;
  std::string trouble_;
  std::uint64_t sent_ = 0;
  int records_ = 0;
};

}  // namespace

std::vector<Block> parse(const std::string& text) {
  std::vector<Block> blocks;
  Block block;
  bool in_transcript = false;
  const auto close = [&] {
    if (!block.commands.empty() || !block.comments.empty()) blocks.push_back(std::exchange(block, {}));
    in_transcript = false;
  };
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    if (line.empty()) close();
    else if (line == "----") in_transcript = true;
    else if (in_transcript) block.transcript += line + "\n";
    else if (line[0] == '#') block.comments.push_back(line);
    else block.commands.push_back(line);
  }
  close();
  return blocks;
}

std::string print(const std::vector<Block>& blocks) {
  std::string text;
  for (const auto& block : blocks) {
    if (!text.empty()) text += "\n";
    for (const auto& line : block.comments) text += line + "\n";
    for (const auto& line : block.commands) text += line + "\n";
    if (!block.commands.empty()) text += "----\n" + block.transcript;
  }
  return text;
}

Run run(const std::vector<Block>& blocks, const Kill& kill) {
  ScriptWorld world(kill);
  Run run;
  for (const auto& block : blocks) run.transcripts.push_back(world.run(block.commands));
  run.trouble = world.trouble();
  run.records = world.records();
  return run;
}

std::vector<std::string> intents_of(const std::vector<Block>& blocks) {
  static const auto known = command_intents();
  std::vector<std::string> intents;
  for (const auto& block : blocks)
    for (const auto& line : block.commands) {
      const auto at = known.find(split(line).command);
      if (at != known.end()) intents.push_back(at->second);
    }
  return intents;
}

}  // namespace reprise::script
