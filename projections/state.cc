#include "projections/state.h"

namespace reprise {
namespace {

// Which nodes a row's change may concern.
void touch_nodes(const State&, const Server& row, State::Touched& touched) {
  if (row.node) touched.nodes.insert(row.node);
}
void touch_nodes(const State& state, const Volume& row, State::Touched& touched) {
  if (row.node) touched.nodes.insert(row.node);
  if (const Server* server = row.server ? state.servers.find(row.server) : nullptr; server && server->node)
    touched.nodes.insert(server->node);
}
// A disk is made from its image: what that is, and that it is gone, its node must know.
void touch_nodes(const State& state, const Image& row, State::Touched& touched) {
  state.servers.each_by(Server::by_image, encode_key(row.id), [&](const Server& server) { return touch_nodes(state, server, touched), true; });
  state.volumes.each_by(Volume::by_image, encode_key(row.id), [&](const Volume& volume) { return touch_nodes(state, volume, touched), true; });
}
void touch_nodes(const State& state, const Port& row, State::Touched& touched) {
  if (row.is_dhcp()) touched.all = true;
  if (const Server* server = row.server ? state.servers.find(row.server) : nullptr; server && server->node)
    touched.nodes.insert(server->node);
}
void touch_nodes(const State&, const Network&, State::Touched& touched) { touched.all = true; }
void touch_nodes(const State&, const Subnet&, State::Touched& touched) { touched.all = true; }
void touch_nodes(const State&, const Node& row, State::Touched& touched) {
  touched.nodes.insert(row.id);
  if (row.fencer) touched.nodes.insert(row.fencer);
}
void touch_nodes(const State&, const NodeReports& row, State::Touched& touched) { touched.nodes.insert(row.node); }
void touch_nodes(const State&, const Leftover& row, State::Touched& touched) { touched.nodes.insert(row.id.node); }
template <class Row>
void touch_nodes(const State&, const Row&, State::Touched&) {}

template <class Row>
concept Counted = requires(State& state, const Row* row) { count_usage(state, row, row); };

}  // namespace

State::State(bool collect_changes, bool keep_undo) : collect_changes_(collect_changes), keep_undo_(keep_undo) {}
State::~State() = default;
State::State(State&&) noexcept = default;
State& State::operator=(State&&) noexcept = default;
State::State(const State&) = default;

const Cloud& State::the_cloud() const {
  static const Cloud none;
  const Cloud* row = cloud.find({});
  return row ? *row : none;
}

template <class Row>
void State::derive(const Row* before, const Row* after) {
  if constexpr (Counted<Row>) count_usage(*this, before, after);
  if constexpr (std::is_same_v<Row, Node>) node_columns_.stale.insert((after ? after : before)->id);
  if constexpr (std::is_same_v<Row, NodeUse>) node_columns_.stale.insert((after ? after : before)->node);
  if (before) touch_nodes(*this, *before, touched_);
  if (after) touch_nodes(*this, *after, touched_);
}

void State::settle() {
  Changes* changes = collect_changes_ ? &changes_ : nullptr;
#define TABLE(Row, member) \
  member.settle(digest_for_loading<Row>(), changes, keep_undo_, [this](const Row* before, const Row* after) { derive(before, after); });
#include "projections/tables.def"
#undef TABLE
}

Hash State::digest() const {
  Digest both = digest_;
  both.add(apart_.value());
  return both.value();
}

Changes State::take_changes() { return std::exchange(changes_, {}); }
State::Touched State::take_touched() { return std::exchange(touched_, {}); }

State::Mark State::mark() const {
  Mark mark;
#define TABLE(Row, member) mark.sizes.push_back(member.undo_size());
#include "projections/tables.def"
#undef TABLE
  mark.digest = digest_;
  mark.apart = apart_;
  return mark;
}

void State::roll_back(const Mark& mark) {
  std::size_t i = 0;
  const auto of_nodes = [this] { return nodes.undo_size() + node_use.undo_size(); };
  const std::size_t before = of_nodes();
#define TABLE(Row, member) member.roll_back(mark.sizes[i++]);
#include "projections/tables.def"
#undef TABLE
  digest_ = mark.digest;
  apart_ = mark.apart;
  if (of_nodes() != before) node_columns_.all_stale = true;
}

const NodeColumns& State::node_columns() const {
  node_columns_.refresh(*this);
  return node_columns_;
}

std::vector<std::size_t> State::forget_before(const Mark& oldest) {
  std::size_t i = 0;
#define TABLE(Row, member) member.forget_undo(oldest.sizes[i++]);
#include "projections/tables.def"
#undef TABLE
  return oldest.sizes;
}

State State::copy(bool collect_changes, bool keep_undo) const {
  State other = *this;
  other.changes_.clear();
  other.touched_ = {};
  other.collect_changes_ = collect_changes;
  other.keep_undo_ = keep_undo;
  return other;
}

}  // namespace reprise
