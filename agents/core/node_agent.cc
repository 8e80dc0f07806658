#include "agents/core/node_agent.h"

#include <algorithm>
#include <array>
#include <utility>

namespace reprise {
namespace {
constexpr std::int64_t announce_again_ms = 3'000;
constexpr std::ptrdiff_t superseded_max = 3;  // within the window
constexpr std::int64_t superseded_window_ms = 600'000;
}  // namespace

NodeAgent::NodeAgent(Ports ports, NodeFacts facts, ReconcilerOptions options, compute::Driver& compute,
                     storage::Driver& storage, network::Driver& network)
    : ports_(std::move(ports)), facts_(std::move(facts)), options_(options), outbox_(*ports_.log, facts_.id, ports_.wake),
      compute_(compute, *board_, outbox_, options, *ports_.workers[0], ports_.wake_loops),
      storage_(storage, *board_, outbox_, options, *ports_.workers[1], ports_.wake_loops),
      network_(network, *board_, outbox_, options, *ports_.workers[2], ports_.wake_loops), nonce_{ports_.random(), ports_.random()} {
  compute.on_change(ports_.wake_loops);
  storage.on_change(ports_.wake_loops);
  network.on_change(ports_.wake_loops);
}

AgentLoop& NodeAgent::loop(AgentKind kind) {
  switch (kind) {
    case AgentKind::compute: return compute_;
    case AgentKind::storage: return storage_;
    case AgentKind::network: return network_;
  }
  CHECK(false);
}

void NodeAgent::update(const State& state, const Head& head) {
  auto view = std::make_shared<NodeView>(node_view(state, facts_.id, head));
  take_view(*view);
  board_->set_view(std::move(view));
  ports_.wake_loops();
}

// Is this process the one that the node row names?
void NodeAgent::take_view(NodeView& view) {
  std::lock_guard lock(mutex_);
  if (view.nonce == nonce_ && view.incarnation != board_->incarnation()) {
    outbox_.begin(view.incarnation);
    board_->set_incarnation(view.incarnation);
    beat_ms_ = 0;
    ports_.wake();
  } else if (view.nonce != nonce_ && board_->incarnation() != 0 && view.incarnation > board_->incarnation()) {
    // A late word of a former process of ours, or another one under our name. The lock file says that we are
    // alone on this host: announce again, a few times.
    board_->set_incarnation(0);
    superseded_by_ = view.nonce;
    ports_.wake();
  }
  if (board_->incarnation()) outbox_.taken(view.reports, view.reports_read);
  // Declared dead, or that and admitted again before we saw it. What a process reads while it catches up is the past.
  if (const auto before = board_->view(); before && board_->confirmed().seq) born_ = before->born;
  const bool died = view.dead || (born_ && view.born != born_);
  if (died && !dead_at_) dead_at_ = view.head;
  if (!died && (!born_ || cleared())) dead_at_ = 0;
  view.void_since = dead_at_;
}

// A node that was declared dead is admitted again only empty.
bool NodeAgent::cleared() const {
  return std::ranges::all_of(std::array{compute_.status().settled, storage_.status().settled, network_.status().settled},
                             [this](Seq settled) { return settled >= dead_at_; });
}

std::int64_t NodeAgent::tick(std::int64_t steady_ms) {
  std::int64_t next = outbox_.step(steady_ms);
  std::unique_lock lock(mutex_);
  if (!stopped_.empty()) return steady_ms + options_.lease_ms;
  if (superseded_by_) {
    const auto by = std::exchange(superseded_by_, {});
    std::erase_if(superseded_, [&](const Superseded& one) { return steady_ms - one.at_ms > superseded_window_ms; });
    // One announcement may come late many times, also one of our own; another process brings ever new ones.
    const bool known = std::ranges::any_of(
        superseded_, [&](const Superseded& one) { return one.by == by || one.own == by; });
    superseded_.push_back({steady_ms, by, nonce_, known});
    if (std::ranges::count(superseded_, false, &Superseded::known) > superseded_max) {
      stopped_ = "another process keeps announcing itself as node " + facts_.name + ": give it a node id of its own";
      ports_.say(stopped_);
      return steady_ms + options_.lease_ms;
    }
    nonce_ = {ports_.random(), ports_.random()};
    announce_ms_ = 0;
  }
  const auto view = board_->view();
  if (view && view->dead && board_->incarnation() && cleared()) {
    board_->set_incarnation(0);
    nonce_ = {ports_.random(), ports_.random()};
    announce_ms_ = 0;
  }
  if (!board_->incarnation()) {
    // Not before it knows what the log says of it.
    const bool may_announce = board_->confirmed().seq != 0 && view && (!view->dead || cleared());
    if (may_announce && steady_ms >= announce_ms_) announce(steady_ms);
    if (may_announce) next = std::min(next, announce_ms_);
  } else {
    if (steady_ms >= beat_ms_) {
      beat(steady_ms);
      beat_ms_ = steady_ms + options_.lease_ms / 6;
    }
    next = std::min(next, beat_ms_);
  }
  const bool confirm = steady_ms >= confirm_ms_;
  if (confirm) confirm_ms_ = steady_ms + options_.lease_ms / 8;
  next = std::min(next, confirm_ms_);
  lock.unlock();  // the answer may come at once, and bring an update()
  if (confirm) ask_to_confirm(steady_ms);
  return next;
}

void NodeAgent::announce(std::int64_t steady_ms) {
  announce_ms_ = steady_ms + announce_again_ms;
  Report report{.node = facts_.id, .incarnation = board_->confirmed().seq};  // it has none yet: the head that it knows
  report.body.Set(AgentStarted{.nonce = nonce_, .name = facts_.name, .boot_id = facts_.boot_id, .zone = facts_.zone,
                               .vcpus = facts_.vcpus, .ram_mib = facts_.ram_mib, .disk_gib = facts_.disk_gib,
                               .compute_driver = facts_.compute_driver, .storage_driver = facts_.storage_driver,
                               .network_driver = facts_.network_driver, .address = facts_.address, .version = facts_.version,
                               .storage_pool = facts_.storage_pool});
  outbox_.send_once(Topic::reports, encode(report));
}

void NodeAgent::beat(std::int64_t steady_ms) {
  Heartbeat heartbeat{.node = facts_.id, .incarnation = board_->incarnation()};
  if (const auto view = board_->view()) heartbeat.head = view->head;
  for (const AgentLoop* loop : {static_cast<const AgentLoop*>(&compute_), static_cast<const AgentLoop*>(&storage_), static_cast<const AgentLoop*>(&network_)}) {
    const AgentStatus status = loop->status();
    heartbeat.realized.push_back(status.realized);
    heartbeat.busy_ms.push_back(status.busy_since_ms ? static_cast<std::uint64_t>(steady_ms - status.busy_since_ms) : 0);
  }
  outbox_.send_once(Topic::heartbeats, encode(heartbeat));
}

void NodeAgent::ask_to_confirm(std::int64_t steady_ms) {
  if (confirming_->exchange(true)) return;
  ports_.confirm([board = board_, asked = steady_ms, confirming = confirming_, wake = ports_.wake_loops](Status status) {
    *confirming = false;
    // Cut off: what was confirmed before counts no more once the log answers again.
    const auto view = board->view();
    board->confirm(status && view ? Confirmed{std::max<Seq>(view->head, 1), asked} : Confirmed{});
    wake();
  });
}

}  // namespace reprise
