#include "tests/sim/clients.h"

#include <cstdio>

#include "events/hash.h"
#include "events/print.h"
#include "events/refusal.h"

namespace reprise::sim {
namespace {
constexpr std::int64_t window_ms = 30'000;
constexpr int tries_max = 4;
constexpr unsigned impatient = 100;  // of 1000
}  // namespace

Clients::Clients(Ground& ground, UserId user, ProjectId project, Folded told)
    : ground_(ground), prng_(ground.prng.fork("clients")), user_(user), project_(project), told_(std::move(told)),
      client_(ground.log->client("api")) {
  task_ = std::make_unique<Task>(ground_, [this] { return step(); });
  follower_ = std::make_unique<Follower>(ground_, *client_, [this] { task_->wake(); });
  task_->wake();
}

std::int64_t Clients::step() {
  follower_->pump([this](const Step& step, const State::Touched&) {
    folded(step);
    told_(step, follower_->state());
  });
  // What log time has passed without a decision was not done: asked again under the same key, or given up.
  std::vector<IntentId> expired;
  for (const auto& [id, asked] : waiting_)
    if (asked.expires_ms < follower_->head().at_ms) expired.push_back(id);
  for (const auto& id : expired) {
    const Asked asked = waiting_.at(id);
    waiting_.erase(id);
    if (asked.tries >= tries_max) continue;
    auto intent = decode_intent(asked.body);
    dispatch(std::move(*intent), asked.tries + 1);
  }
  const bool stale = !waiting_.empty() && ground_.now().wall_ms > waiting_.begin()->second.sent_ms + window_ms;
  if (stale) {
    // An idle log: only a later record can prove that nothing was done.
    Intent intent;
    intent.set(AskTime{.asked_ms = ground_.now().wall_ms});
    dispatch(std::move(intent), tries_max);
  }
  return ground_.queue.now_ms() + 10'000;
}

void Clients::folded(const Step& step) {
  ground_.mix(step.record.seq);
  ground_.mix(static_cast<std::uint64_t>(step.record.at_ms));
  for (std::uint32_t i = 0; i < step.record.decisions.size(); ++i) {
    const Decision& decision = step.record.decisions[i];
    if (ground_.trace)
      for (const auto& event : decision.events)
        std::printf("%10ld %6lu %s\n", static_cast<long>(ground_.queue.now_ms()), static_cast<unsigned long>(step.record.seq), print_words(event).c_str());
    if (decision.cause != Cause::intent) continue;
    const auto intent = decode_intent(decision.intent);
    if (!intent) continue;
    if (!answers_.emplace(intent->id, std::pair(step.record.seq, i)).second)
      ground_.violate("intent " + intent->id.str() + " was decided twice");
    const bool refused = decision.events.size() == 1 && decision.events[0].is<IntentRefused>();
    if (!refused && !intent->key.empty() && !effects_.emplace(intent->key, intent->id).second)
      ground_.violate("key " + intent->key + " took effect twice");
    waiting_.erase(intent->id);
  }
}

void Clients::dispatch(Intent intent, int tries) {
  intent.id = fresh().as<IntentId>();
  intent.user = user_;
  intent.project = project_;
  intent.sent_ms = ground_.now().wall_ms;
  intent.expires_ms = std::max(ground_.now().wall_ms, follower_->head().at_ms) + window_ms;
  if (intent.key.empty() && intent.type() != IntentType::AskTime) intent.key = "k" + std::to_string(++sent_);
  intent.body_hash = blake2b(intent.key);
  if (*producer_failed_ || !producer_) {
    producer_.reset();
    auto opened = client_->open_producer();
    producer_failed_ = std::make_shared<bool>(!opened);
    if (opened) producer_ = std::move(*opened);
  }
  if (tries == 1 && prng_.chance(impatient))
    // One that does not wait for its answer asks again under the same key, at once or much later.
    ground_.queue.at(ground_.queue.now_ms() + prng_.between(0, prng_.chance(300) ? 60'000 : 500),
                     [this, again = intent]() mutable { dispatch(std::move(again), 2); });
  waiting_[intent.id] = {encode(intent), intent.key, intent.expires_ms, intent.sent_ms, tries};
  if (producer_)
    producer_->append(Topic::intents, encode(intent), [failed = producer_failed_](Result<std::int64_t> offset) {
      if (!offset) *failed = true;
    });
}

template <class T>
void Clients::send(T body, AnyId object) {
  Intent intent;
  intent.object = object;
  intent.set(std::move(body));
  dispatch(std::move(intent), 1);
}

template <class Row>
const Row* Clients::any(const Table<Row>& table) {
  if (!table.size()) return nullptr;
  auto skip = prng_.below(table.size());
  const Row* found = nullptr;
  table.each([&](const Row& row) {
    if (skip-- == 0) found = &row;
  });
  return found;
}

void Clients::ask() {
  const auto what = prng_.below(100);
  if (what < 55) ask_server();
  else if (what < 80) ask_volume();
  else if (what < 92) ask_network();
  else ask_other();
}

void Clients::ask_quota(std::int64_t most) {
  send(SetQuota{.project = project_, .instances = most, .cores = -1, .ram_mib = -1, .volumes = most, .gigabytes = 4 * most,
                .networks = -1, .subnets = -1, .ports = 3 * most, .key_pairs = 2},
       project_.as<AnyId>());
}

void Clients::ask_server() {
  const State& s = follower_->state();
  const auto what = prng_.below(100);
  const Server* server = any(s.servers);
  if (what < 40 || !server) {
    CreateServer create{.id = fresh().as<ServerId>(), .name = "s", .flavor = prng_.chance(800) ? "42" : "4"};
    if (const Image* image = any(s.images)) create.image = image->id;
    create.hostname = "s";
    const auto nics = prng_.below(3);
    for (std::uint64_t i = 0; i < nics; ++i) {
      const Port* port = prng_.chance(200) ? any(s.ports) : nullptr;
      if (port && !port->is_dhcp()) create.nics.push_back({.port = port->id});
      else if (const Network* network = any(s.networks)) create.nics.push_back({.port = fresh().as<PortId>(), .network = network->id});
    }
    const auto object = create.id.as<AnyId>();
    return send(std::move(create), object);
  }
  const auto object = server->id.as<AnyId>();
  if (what < 60) return send(DeleteServer{.id = server->id}, object);
  if (what < 72) return send(StopServer{.id = server->id}, object);
  if (what < 84) return send(StartServer{.id = server->id}, object);
  if (what < 96) return send(RebootServer{.id = server->id, .hard = prng_.chance(500)}, object);
  send(UpdateServer{.id = server->id, .name = "renamed"}, object);
}

void Clients::ask_volume() {
  const State& s = follower_->state();
  const auto what = prng_.below(100);
  const Volume* volume = any(s.volumes);
  if (what < 30 || !volume) {
    CreateVolume create{.id = fresh().as<VolumeId>(), .name = "v", .size_gib = 1 + prng_.below(8)};
    if (const Image* image = prng_.chance(300) ? any(s.images) : nullptr) create.image = image->id;
    const auto object = create.id.as<AnyId>();
    return send(std::move(create), object);
  }
  const auto object = volume->id.as<AnyId>();
  if (what < 45) return send(DeleteVolume{.id = volume->id}, object);
  if (what < 75) {
    if (const Server* server = any(s.servers)) return send(AttachVolume{.id = volume->id, .server = server->id}, object);
  }
  if (what < 97) return send(DetachVolume{.id = volume->id, .server = volume->server}, object);
  send(UpdateVolume{.id = volume->id, .name = "renamed"}, object);
}

void Clients::ask_network() {
  const State& s = follower_->state();
  const auto what = prng_.below(100);
  const Network* network = any(s.networks);
  if (what < 20 || !network) {
    const auto id = fresh();
    return send(CreateNetwork{.id = id.as<NetworkId>(), .name = "n"}, id);
  }
  if (what < 50) {
    const auto id = fresh();
    const auto octet = static_cast<std::uint32_t>(prng_.below(4));
    return send(CreateSubnet{.id = id.as<SubnetId>(), .network = network->id, .name = "sub", .base = {10u << 24 | octet << 8},
                             .prefix = 28, .gateway = {10u << 24 | octet << 8 | 1}, .dhcp_port = fresh().as<PortId>()}, id);
  }
  if (what < 65) {
    const auto id = fresh();
    return send(CreatePort{.id = id.as<PortId>(), .network = network->id, .name = "p"}, id);
  }
  const Port* port = any(s.ports);
  const Subnet* subnet = any(s.subnets);
  if (what < 75 && port) return send(DeletePort{.id = port->id}, port->id.as<AnyId>());
  if (what < 80 && port) return send(UpdatePort{.id = port->id, .name = "p", .admin_up = prng_.chance(500)}, port->id.as<AnyId>());
  if (what < 86 && subnet) return send(UpdateSubnet{.id = subnet->id, .name = "renamed"}, subnet->id.as<AnyId>());
  if (what < 92 && subnet) return send(DeleteSubnet{.id = subnet->id}, subnet->id.as<AnyId>());
  if (what < 96) return send(UpdateNetwork{.id = network->id, .name = "renamed"}, network->id.as<AnyId>());
  send(DeleteNetwork{.id = network->id}, network->id.as<AnyId>());
}

void Clients::ask_other() {
  const State& s = follower_->state();
  const auto id = fresh();
  switch (prng_.below(10)) {
    case 0: return send(CreateProject{.id = id.as<ProjectId>(), .name = "project" + std::to_string(prng_.below(8))}, id);
    case 1: return send(CreateUser{.id = id.as<UserId>(), .name = "user" + std::to_string(prng_.below(8)), .password_hash = "x"}, id);
    case 2: return send(CreateFlavor{.id = "f" + std::to_string(prng_.below(8)), .name = "f" + std::to_string(prng_.below(8)), .vcpus = 1, .ram_mib = 64, .disk_gib = 1}, {});
    case 3: return send(DeleteFlavor{.id = "f" + std::to_string(prng_.below(8))}, {});
    case 4: return send(CreateKeypair{.user = user_, .name = "k" + std::to_string(prng_.below(4)), .public_key = "ssh-ed25519 x"}, {});
    case 5: return send(DeleteKeypair{.user = user_, .name = "k" + std::to_string(prng_.below(4))}, {});
    case 6: {
      const Node* node = any(s.nodes);
      if (node) return send(SetNodeEnabled{.id = node->id, .enabled = prng_.chance(700)}, node->id.as<AnyId>());
      break;
    }
    case 7: return send(RevokeToken{.audit_id = id, .expires_ms = ground_.now().wall_ms + 60'000}, {});
    default: break;
  }
  // Images come with their bytes at once.
  send(CreateImage{.id = id.as<ImageId>(), .name = "i", .disk_format = "qcow2", .container_format = "bare"}, id);
  send(StoreImage{.id = id.as<ImageId>(), .size = 1 << 20, .virtual_size = 64 << 20, .md5 = "m", .sha512 = "h" + id.hex()}, id);
}

void Clients::check() const {
  // Every effect of a client's key is in the state's memory of keys, or older than that memory.
  for (const auto& [key, intent] : effects_)
    if (!answers_.contains(intent)) ground_.violate("key " + key + " took effect without an answer");
}

}  // namespace reprise::sim
